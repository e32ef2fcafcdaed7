"""How bytes go to registries and come back: the only sockets towards them."""

from csi_driver.registry.transport.tls import tls_context
from csi_driver.registry.transport.transport import Transport

__all__ = ["Transport", "tls_context"]
