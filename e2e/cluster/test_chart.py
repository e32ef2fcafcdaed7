"""What the chart offers beside the plain driver, as it works in a cluster."""

import re
from pathlib import Path
from typing import Any

from csi_driver.host.capabilities import NEEDED
from e2e.cluster.installation import RELEASE, Installation
from e2e.waiting import until

ACCOUNT = f"{RELEASE}-model-csi-driver"


def test_the_policies_are_free_of_mistakes_that_the_api_server_sees(driver: Installation) -> None:
    with driver.changed(admissionPolicy={"enabled": True, "allowedRegistries": ["ghcr.io"]}):
        found = {name: mistakes(driver, name) for name in ("allowed-registries", "own-node")}

    assert not any(found.values()), found


def test_what_the_node_writes_is_written_on_no_other(driver: Installation) -> None:
    """Such as the machine that it runs on, or a cluster beside it, whose kubelet would clear it away."""
    uid = driver.pod()["metadata"]["uid"]
    logs = "/var/log/pods"

    assert [path for path in driver.cluster.node.seen(logs).iterdir() if path.name.endswith(uid)]
    assert not [path for path in Path("/").glob(f"{logs[1:]}/*") if path.name.endswith(uid)]


def test_the_driver_keeps_three_of_roots_capabilities(driver: Installation) -> None:
    """The runtime gives privileged containers all of them."""
    status = Path(f"/proc/{driver.process()}/status").read_text(encoding="ascii")

    held = {name: int(bits, 16) for name, bits in re.findall(r"^Cap(\w+):\t(\w+)$", status, re.MULTILINE)}
    assert held == {"Inh": 0, "Prm": NEEDED, "Eff": NEEDED, "Bnd": NEEDED, "Amb": 0}


def mistakes(driver: Installation, name: str) -> Any:
    """What the API server says of the types in a policy's expressions, when it has looked at them."""
    policy = f"validatingadmissionpolicy/{ACCOUNT}-{name}"

    def status() -> Any:
        return driver.cluster.get(policy).get("status", {})

    until(lambda: "typeChecking" in status(), f"the types in {policy} are checked")
    return status()["typeChecking"]
