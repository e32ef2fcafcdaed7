"""What the operator wants to be on every node, whoever asks for it."""

from dataclasses import dataclass

from csi_driver.cache.pins import Pin
from csi_driver.config import Config, PrefetchEntry
from csi_driver.errors import InvalidRequest
from csi_driver.oci.reference import Reference
from csi_driver.oci.selection import Selection


@dataclass(frozen=True, slots=True)
class Wish:
    """A model, or a part of it, that is to be pulled before anybody asks for it, and kept."""

    reference: Reference
    selection: Selection

    @property
    def pin(self) -> Pin:
        """Why it stays."""
        return Pin(str(self.reference), self.selection.key)


def wishes(config: Config) -> tuple[Wish, ...]:
    """The models to prefetch, in the order of the configuration; raises `InvalidRequest` for what is wrong."""
    return tuple(dict.fromkeys(_wish(entry) for entry in config.prefetch))


def configured_pins(config: Config) -> frozenset[Pin]:
    """The models that the configuration pins or has prefetched; raises `InvalidRequest` for what is wrong."""
    return frozenset({_pin(name) for name in config.cache.pins} | {wish.pin for wish in wishes(config)})


def _wish(entry: PrefetchEntry) -> Wish:
    try:
        selection = Selection(
            entry.exclude_model_weights, entry.exclude_file_patterns, entry.include_file_patterns, entry.layer_roles
        )
        return Wish(Reference.parse(entry.reference), selection)
    except InvalidRequest as error:
        raise InvalidRequest(f"setting prefetch, entry {entry.reference!r}: {error}") from error


def _pin(name: str) -> Pin:
    try:
        return Pin.parse(name)
    except InvalidRequest as error:
        raise InvalidRequest(f"setting cache.pins: {error}") from error
