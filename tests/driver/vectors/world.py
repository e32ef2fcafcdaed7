"""What a vector is tried in: a driver, a registry, and a world outside of both that must stay as it is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from csi_driver.errors import DriverError, UnsupportedArtifact
from tests.fixtures.driver import RunningDriver, content
from tests.fixtures.models import MANIFEST_TYPE
from tests.fixtures.producers import FILEPATH, layer, push
from tests.fixtures.registry import EmbeddedRegistry

Json = dict[str, Any]
Build = Callable[["World"], str]
Check = Callable[["World", Path], None]

CANARY = b"nothing may change this"
MODELPACK = "application/vnd.cncf.model"


@dataclass
class World:
    """Where an artifact is pushed to and mounted."""

    registry: EmbeddedRegistry
    driver: RunningDriver
    outside: Path  # a directory that no artifact has any business in
    notes: dict[str, Any] = field(default_factory=dict)

    def modelpack(self, *layers: Json, config: bytes = b"{}", **changes: Any) -> str:
        """Push a ModelPack artifact of these layers; its reference."""
        changes = {"artifact_type": f"{MODELPACK}.manifest.v1+json", **changes}
        config_type = changes.pop("config_type", f"{MODELPACK}.config.v1+json")
        return push(self.registry, "team/model:v1", config_type, layers, config=config, **changes)

    def raw(self, path: str | None, data: bytes, kind: str = "weight", **notes: str) -> Json:
        """A raw layer for one file."""
        annotations = {} if path is None else {FILEPATH: path}
        return self.layer(f"{MODELPACK}.{kind}.v1.raw", data, annotations={**annotations, **notes})

    def tar(self, archive: bytes, path: str | None = None, packing: str = "tar") -> Json:
        """A layer that holds an archive, whose bytes these are."""
        annotations = {} if path is None else {FILEPATH: path}
        return self.layer(f"{MODELPACK}.weight.v1.{packing}", archive, annotations=annotations)

    def layer(self, media_type: str, data: bytes, **members: Any) -> Json:
        return layer(self.registry, media_type, data, **members)

    def manifest(self, body: bytes, media_type: str = MANIFEST_TYPE) -> str:
        """Push a manifest as it is; its reference."""
        self.registry.put_manifest("team/model", "v1", body, media_type)
        return self.registry.reference("team/model", "v1")

    def untouched(self) -> None:
        """Nothing outside was read through a link, written, added or removed."""
        assert sorted(path.name for path in self.outside.iterdir()) == ["canary"]
        canary = self.outside / "canary"
        assert canary.read_bytes() == CANARY
        assert (canary.stat().st_mode & 0o7777, canary.stat().st_nlink) == (0o640, 1)

    def surroundings(self) -> set[Path]:
        """What is beside all places in which the driver keeps something, where a step out of one of them would lead."""
        node = self.driver.node
        return {path for place in (node.home, node.root, node.pods) for path in place.iterdir()}

    def nothing_half_made(self) -> None:
        """Nothing at the target, and in the cache at most whole layers, of which only the names were at odds."""
        assert not self.driver.node.target("a").exists()
        left = self.driver.node.leftovers()
        assert [path for path in left if path.startswith(("ingest/", "volumes/"))] == []


@dataclass(frozen=True, slots=True)
class Vector:
    """One artifact, and what has to become of it: files, of which None may hold anything, or a refusal."""

    number: str
    build: Build
    files: Mapping[str, bytes | None] | None = None
    check: Check | None = None
    error: type[DriverError] = UnsupportedArtifact
    match: str = ""

    @property
    def name(self) -> str:
        return self.build.__name__.replace("_", "-")

    def hold(self, world: World) -> None:
        """Mount the artifact, or see it refused; either way nothing else in the world changes."""
        reference = self.build(world)
        before = world.surroundings()
        if self.files is None and self.check is None:
            with pytest.raises(self.error, match=self.match):
                world.driver.publish("a", reference)
            assert not list((world.driver.node.root / "snapshots").iterdir())
        else:
            target = world.driver.publish("a", reference)
            if self.files is not None:
                assert content(target) == {
                    path: content(target)[path] if data is None else data for path, data in self.files.items()
                }
            if self.check:
                self.check(world, target)
            world.driver.unpublish("a")
        world.nothing_half_made()
        world.untouched()
        assert world.surroundings() == before


class Catalogue:
    """The vectors of one family, gathered by what their builders are decorated with."""

    def __init__(self) -> None:
        self.vectors: list[Vector] = []

    def mounts(
        self, number: str, files: Mapping[str, bytes | None] | None = None, *, check: Check | None = None
    ) -> Callable[[Build], Build]:
        """The artifact is mounted as these files, and passes the check."""
        assert files is not None or check is not None

        def add(build: Build) -> Build:
            self.vectors.append(Vector(number, build, files, check))
            return build

        return add

    def refuses(
        self, number: str, match: str, error: type[DriverError] = UnsupportedArtifact
    ) -> Callable[[Build], Build]:
        """The artifact is refused with this error, whose text matches."""

        def add(build: Build) -> Build:
            self.vectors.append(Vector(number, build, error=error, match=match))
            return build

        return add

    def numbers(self) -> set[str]:
        return {vector.number for vector in self.vectors}
