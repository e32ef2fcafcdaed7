"""What the chart offers beside the plain driver, as it works in a cluster."""

import re
from pathlib import Path

from csi_driver.host.capabilities import NEEDED
from e2e.cluster.installation import RELEASE, Installation
from e2e.waiting import until

ACCOUNT = f"{RELEASE}-model-csi-driver"


def test_the_policy_of_registries_is_free_of_mistakes_that_the_api_server_sees(driver: Installation) -> None:
    with driver.changed(admissionPolicy={"enabled": True, "allowedRegistries": ["ghcr.io"]}):
        name = f"validatingadmissionpolicy/{ACCOUNT}-allowed-registries"
        until(lambda: "typeChecking" in driver.cluster.get(name).get("status", {}), "the types are checked")
        checked = driver.cluster.get(name)["status"]

    assert checked["typeChecking"] == {}, checked


def test_the_driver_keeps_three_of_roots_capabilities(driver: Installation) -> None:
    """The runtime gives privileged containers all of them."""
    status = Path(f"/proc/{driver.process()}/status").read_text(encoding="ascii")

    held = {name: int(bits, 16) for name, bits in re.findall(r"^Cap(\w+):\t(\w+)$", status, re.MULTILINE)}
    assert held == {"Inh": 0, "Prm": NEEDED, "Eff": NEEDED, "Bnd": NEEDED, "Amb": 0}
