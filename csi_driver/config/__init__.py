"""What the operator decided: the configuration file and the environment."""

from csi_driver.config.kinds import Mark, PrefetchEntry
from csi_driver.config.live import LiveConfig
from csi_driver.config.load import load
from csi_driver.config.settings import (
    DEFAULT_ENDPOINT,
    DEFAULT_NAME,
    IGNORED,
    CacheConfig,
    Config,
    Credentials,
    Features,
    Kubernetes,
    Policy,
    PullConfig,
    Verification,
)

__all__ = ["DEFAULT_ENDPOINT", "DEFAULT_NAME", "IGNORED", "CacheConfig", "Config", "Credentials", "Features",
           "Kubernetes", "LiveConfig", "Mark", "Policy", "PrefetchEntry", "PullConfig", "Verification",
           "load"]  # fmt: skip
