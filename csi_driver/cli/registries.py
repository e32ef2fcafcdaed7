"""How push and inspect reach registries: without a driver, and with the credentials of whoever runs them."""

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from csi_driver.cli.options import Invocation
from csi_driver.cli.progress import Meter
from csi_driver.registry.client import Registry
from csi_driver.registry.hostsdir import HostsDirectory
from csi_driver.registry.keychain import Keychain
from csi_driver.registry.retry import Retry
from csi_driver.registry.transport import Transport


@contextmanager
def registries(
    invocation: Invocation, plain_http: Collection[str], meter: Meter, *, patience: float
) -> Iterator[Registry]:
    """All registries, as this user reaches them; one that does not answer is asked again for `patience` seconds."""

    def pause(seconds: float) -> None:
        meter.note("the registry does not answer as it should; trying again")
        time.sleep(seconds)

    transport = Transport()
    try:
        yield Registry(
            transport=transport,
            node_keychain=Keychain.from_docker_config(invocation.docker_config.expanduser()),
            retry=Retry(patience=patience, sleep=pause),
            plain_http_hosts=plain_http,
            hosts=HostsDirectory(lambda: invocation.hosts_dir),
        )
    finally:
        transport.close()
