"""The lock files are what pyproject.toml asks for: exact, hashed, complete, and free of addresses."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FILES = (
    "requirements.lock",
    "requirements-dev.lock",
    "requirements-build.lock",
    "requirements-demo.lock",
    "requirements-e2e.lock",
    "requirements-fuzz.lock",
)


@dataclass(frozen=True, slots=True)
class Locked:
    """One entry of a lock file."""

    requirement: Requirement
    hashes: frozenset[str]

    @property
    def version(self) -> str:
        [specifier] = self.requirement.specifier
        return specifier.version


def lock(name: str) -> dict[str, Locked]:
    """The entries of a lock file by canonical name; one package is locked once, or once for each marker."""
    text = (ROOT / name).read_text(encoding="utf-8")
    entries: dict[str, Locked] = {}
    for entry in re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ").splitlines():
        specification, *hashes = re.split(r"\s+--hash=", entry.strip())
        requirement = Requirement(specification)
        if requirement.marker is None or requirement.marker.evaluate():
            entries[canonicalize_name(requirement.name)] = Locked(requirement, frozenset(hashes))
    return entries


def group(name: str) -> Iterator[Requirement]:
    """The requirements of a dependency group, with those of the groups it includes."""
    for item in PROJECT["dependency-groups"][name]:
        if isinstance(item, dict):
            yield from group(item["include-group"])
        else:
            yield Requirement(item)


def asked() -> list[Requirement]:
    """What the driver needs, with all its extras, as the image has it."""
    project = PROJECT["project"]
    return [
        Requirement(text)
        for texts in (project["dependencies"], *project["optional-dependencies"].values())
        for text in texts
    ]


def closure(requirements: list[Requirement]) -> set[str]:
    """Canonical names of all that the installed packages say they need, and what those need."""
    seen: set[tuple[str, str]] = set()
    todo = [(requirement, "") for requirement in requirements]
    while todo:
        requirement, extra = todo.pop()
        name = canonicalize_name(requirement.name)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        wanted = {(name, wish) for wish in requirement.extras or {""}} - seen
        seen |= wanted
        needs = [Requirement(text) for text in (distribution(name).requires or [] if wanted else [])]
        todo += [(need, wish) for need in needs for _, wish in wanted]
    return {name for name, _ in seen}


@pytest.mark.parametrize("name", FILES)
def test_every_entry_is_one_version_with_its_hashes_and_no_address(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r"^-|^\s+--(?!hash=sha256:[0-9a-f]{64}\b)| @ |^\.", text, re.MULTILINE)
    for package, locked in lock(name).items():
        assert [specifier.operator for specifier in locked.requirement.specifier] == ["=="], package
        assert locked.hashes, package


@pytest.mark.parametrize(
    ("name", "requirements"),
    [
        ("requirements.lock", asked()),
        ("requirements-dev.lock", [*asked(), *group("dev")]),
        ("requirements-build.lock", list(group("build"))),
        ("requirements-demo.lock", list(group("demo"))),
        ("requirements-e2e.lock", list(group("e2e"))),
        ("requirements-fuzz.lock", list(group("fuzz"))),
    ],
    ids=FILES,
)
def test_the_lock_satisfies_what_pyproject_asks_for(name: str, requirements: list[Requirement]) -> None:
    locked = lock(name)
    for requirement in requirements:
        entry = locked.get(canonicalize_name(requirement.name))
        assert entry is not None, f"{requirement.name} is not locked: make lock"
        assert requirement.specifier.contains(entry.version, prereleases=True), f"{requirement}: make lock"


@pytest.mark.parametrize(
    ("name", "requirements"),
    [
        ("requirements.lock", asked()),
        ("requirements-dev.lock", [*asked(), *group("dev")]),
        ("requirements-build.lock", list(group("build"))),
    ],
    ids=FILES[:3],
)
def test_the_lock_holds_all_that_is_needed_and_nothing_else(name: str, requirements: list[Requirement]) -> None:
    assert set(lock(name)) == closure(requirements)


@pytest.mark.parametrize("name", ["Makefile", "Dockerfile"])
def test_what_is_newer_in_the_index_changes_nothing_of_an_install(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    installs = re.findall(r"(?i:pip)\b[^&\n]* install [^&\n]*--require-hashes[^&\n]*", text)

    assert installs
    for install in installs:
        assert "--no-deps" in install or "--dry-run" in install, install


def test_what_runs_is_what_was_tested() -> None:
    developed = lock("requirements-dev.lock")
    for name in ("requirements.lock", "requirements-build.lock"):
        for package, locked in lock(name).items():
            assert developed[package].version == locked.version, package
            assert developed[package].hashes == locked.hashes, package


def test_the_build_needs_only_its_own_lock() -> None:
    backend = {canonicalize_name(Requirement(text).name) for text in PROJECT["build-system"]["requires"]}

    assert backend <= set(lock("requirements-build.lock"))
