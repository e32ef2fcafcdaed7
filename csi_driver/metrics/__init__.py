"""What the driver counts, and how that is served."""

from csi_driver.metrics.metrics import Metrics

__all__ = ["Metrics"]
