"""What Helm makes of the chart: manifests for kubectl, and golden files, which show what a change of it changes."""

import re
import subprocess
from pathlib import Path

CHART = Path("deploy", "helm", "model-csi-driver")
NAMESPACE = "model-csi"

_HEADER = f"""\
# Written by `make docs` from the chart with its default values. It needs the image's name: see kustomization.yaml.
apiVersion: v1
kind: Namespace
metadata:
  name: {NAMESPACE}
  labels:
    pod-security.kubernetes.io/enforce: privileged
"""
# What is said of Helm and of the chart's own files says nothing to kubectl.
_OF_HELM = re.compile(r"^(# Source: .*| *helm\.sh/chart: .*| *app\.kubernetes\.io/managed-by: .*)\n", re.MULTILINE)

# The sum of what a running driver does not follow changes when the code learns to follow a setting.
_SUM = re.compile(r"(checksum/settings: )[0-9a-f]{64}")


def rendered(helm: Path, root: Path, values: Path) -> str:
    """What `helm template` says for the values in the file `values`; raises `CalledProcessError`."""
    release = ("model-csi-driver", root / CHART, "--namespace", NAMESPACE, "--kube-version", "1.35")
    command: list[str | Path] = [helm, "template", *release, "--values", values]
    said: str = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return said.lstrip("\n")


def golden(helm: Path, root: Path) -> dict[Path, str]:
    """For every file of values in the chart's ci/, where its golden file is and what belongs in it."""
    values = sorted((root / CHART / "ci").glob("*-values.yaml"))
    return {
        root / "e2e" / "golden" / f"{path.name.removesuffix('-values.yaml')}.yaml": _SUM.sub(
            r"\1(of the settings)", rendered(helm, root, path)
        )
        for path in values
    }


def plain(helm: Path, root: Path) -> dict[Path, str]:
    """The manifests for `kubectl apply`."""
    objects = _OF_HELM.sub("", rendered(helm, root, root / CHART / "ci" / "default-values.yaml"))
    return {root / "deploy" / "kubernetes" / "model-csi-driver.yaml": _HEADER + objects}
