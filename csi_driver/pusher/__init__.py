"""Where a directory becomes a model in a registry."""

from csi_driver.pusher.bundles import AUTO, PACKINGS
from csi_driver.pusher.pusher import Pushed, Pusher
from csi_driver.pusher.tally import Tally

__all__ = ["AUTO", "PACKINGS", "Pushed", "Pusher", "Tally"]
