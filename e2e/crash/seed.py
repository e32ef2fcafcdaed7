"""What one seed stands for: a node, its pods, and the steps at which its drivers are killed, one after the other."""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from csi_driver.inflight import Pool
from e2e.crash import checks
from e2e.crash.catalogue import Catalogue, Model
from e2e.crash.node import Driver, Launcher, Node, Wrong
from e2e.crash.pods import Kubelet, Place
from e2e.crash.steps import ANY, Step

# Kinds of steps, and about how many a driver takes of each while a few pods come and go.
KINDS = {
    "publish": 40, "unpublish": 40, "resolve": 50, "pull": 160, "commit": 60, "assemble": 140, "collect": 60,
    "recover": 14, "clean": 5,
}  # fmt: skip
_EARLY = 0.5  # the share of kills among the first few steps, where different things happen
_FEW = 12
_PLACES = 4
_TURNS = 8  # what happens to a pod in the life of a driver
_MANY_TURNS = 30  # until a small cache is full
_LARGE = 0.15  # the share of nodes that want large models
_AT_REST = "at rest"
_ENOUGH = 20  # seeds, to have seen most kinds of steps


@dataclass(frozen=True, slots=True)
class Plan:
    """Which steps are fatal to the drivers of the node, in their order, and the most bytes its cache may hold."""

    fatal: tuple[Step, ...]
    models: tuple[Model, ...]
    limit: int

    @classmethod
    def of(cls, seed: int, catalogue: Catalogue) -> "Plan":
        """Every other node has a small cache; the seed's first fatal step is of every kind in turn."""
        chance = random.Random(seed)
        kinds = list(KINDS)
        first = kinds[seed // 2 % len(kinds)]
        limited = seed % 2 == 0 or first in ("collect", "clean")
        large = not limited and chance.random() < _LARGE
        models = (*catalogue.small, *catalogue.large) if large else catalogue.small
        order = ["collect", first] if first == "clean" else [ANY, first] if first == "recover" else [first]
        order += chance.choices((*kinds, ANY, "recover"), k=chance.randrange(3))
        return cls(tuple(_step(kind, chance) for kind in order), models, _room(models) if limited else 0)


@dataclass
class Tally:
    """What came of all seeds so far."""

    seeds: int = 0
    published: int = 0
    lives: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    points: set[tuple[str, str, str]] = field(default_factory=set)
    failures: dict[int, str] = field(default_factory=dict)

    def died(self, step: Step | None) -> None:
        self.lives += 1
        self.kills[step.kind if step else _AT_REST] += 1
        if step:
            self.points.add((step.kind, step.function, step.event))

    @property
    def is_blind(self) -> bool:
        """Whether the fatal steps were not those that were meant: several kinds of them never came."""
        return self.seeds >= _ENOUGH and len(KINDS.keys() & self.kills.keys()) < len(KINDS) - 2

    def lines(self) -> Iterator[str]:
        """The numbers for people."""
        yield f"seeds {self.seeds}, survived {self.seeds - len(self.failures)}"
        kinds = ", ".join(f"{kind} {count}" for kind, count in self.kills.most_common())
        yield f"kills {self.lives} ({kinds}) at {len(self.points)} different places in the driver"
        yield f"publishes {self.published}"


def live(seed: int, catalogue: Catalogue, launcher: Launcher, directory: Path, tally: Tally) -> None:
    """The whole life of one node; raises `Wrong`."""
    plan = Plan.of(seed, catalogue)
    node = Node(directory, plan.limit)
    places = [Place(number, node, plan.models, random.Random(f"{seed} {number}")) for number in range(_PLACES)]
    pool = Pool(f"seed-{seed}", _PLACES)
    try:
        with checks.being_read(places):
            for fatal in plan.fatal:
                tally.died(_until_killed(launcher, node, fatal, places, pool))
            _to_the_end(launcher, node, places, pool)
        checks.nothing_leaks(node)
        checks.log_is_clean(node)
    except Wrong as wrong:
        log = node.log.read_text(encoding="utf-8")
        steps = ", ".join(f"{step.kind} {step.number}" for step in plan.fatal)
        raise Wrong(f"{wrong}\nfatal steps: {steps}; limit: {plan.limit} bytes\n{log[-4000:]}") from wrong
    finally:
        tally.seeds += 1
        tally.published += sum(place.published for place in places)


def _until_killed(launcher: Launcher, node: Node, fatal: Step, places: list[Place], pool: Pool) -> Step | None:
    """The life of a driver, which ends at the fatal step, or at rest if it does not come to that."""
    turns = _MANY_TURNS if fatal.kind == "collect" else _TURNS
    with _driver(launcher, node, fatal) as driver:
        if driver.is_served():
            # It may die while it is looked at, which changes nothing of what is looked at.
            checks.is_recovered(node)
            kubelet = Kubelet(node)
            try:
                _all(pool, places, lambda place: place.live(kubelet, driver, turns))
            finally:
                kubelet.close()
        step = driver.kill()
    checks.mounts_are_right(node, places)
    return step


def _to_the_end(launcher: Launcher, node: Node, places: list[Place], pool: Pool) -> None:
    """The life of the last driver: all pods come to run, then go, and nothing is left."""
    with _driver(launcher, node, None) as driver:
        if not driver.is_served():
            raise Wrong("the last driver did not come to serve")
        checks.is_recovered(node)
        kubelet = Kubelet(node)
        try:
            _all(pool, places, lambda place: place.settle(kubelet, driver))
            checks.mounts_are_right(node, places)
            if len(node.mounted()) != len(places):
                raise Wrong("a pod runs without its volume")
            _all(pool, places, lambda place: place.clear(kubelet, driver))
        finally:
            kubelet.close()
        checks.is_empty(node, driver)
        driver.stop()


@contextmanager
def _driver(launcher: Launcher, node: Node, fatal: Step | None) -> Iterator[Driver]:
    driver = Driver(launcher, node, fatal)
    try:
        yield driver
    finally:
        driver.abandon()


def _all(pool: Pool, places: Iterable[Place], work: Callable[[Place], None]) -> None:
    """Have it done for all places at once; raises what was raised first."""
    done = [pool.submit(lambda place=place: work(place)) for place in places]  # type: ignore[misc]
    for each in done:
        each.result()


def _step(kind: str, chance: random.Random) -> Step:
    most = KINDS.get(kind, 1000)
    return Step(kind, chance.randint(1, min(most, _FEW) if chance.random() < _EARLY else most))


def _room(models: Iterable[Model]) -> int:
    """Bytes for as many of the largest models as there are pods, and one more: what is compressed reserves more."""
    sizes = sorted((model.size for model in models), reverse=True)
    return sum(sizes[:_PLACES]) + sizes[0]
