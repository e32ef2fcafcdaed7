"""What the operator wants to be on every node, whoever asks for it."""

from csi_driver.cache.pins import Pin
from csi_driver.config import Config
from csi_driver.errors import InvalidRequest


def configured_pins(config: Config) -> frozenset[Pin]:
    """The models that the configuration pins; raises `InvalidRequest` for what is no reference and no digest."""
    return frozenset(_pin(name) for name in config.cache.pins)


def _pin(name: str) -> Pin:
    try:
        return Pin.parse(name)
    except InvalidRequest as error:
        raise InvalidRequest(f"setting cache.pins: {error}") from error
