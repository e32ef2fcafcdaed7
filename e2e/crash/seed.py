"""What one seed stands for: a node, its pods, and the steps at which its drivers are killed, one after the other."""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from csi_driver.inflight import Pool
from e2e.crash import checks
from e2e.crash.catalogue import Catalogue, Model
from e2e.crash.elders import Elders
from e2e.crash.node import Driver, Launcher, Node, Wrong
from e2e.crash.operator import Operator
from e2e.crash.pods import Kubelet, Place
from e2e.crash.steps import ANY, Step

# Kinds of steps, and about how many a driver takes of each while a few pods come and go.
KINDS = {
    "publish": 40, "unpublish": 40, "resolve": 50, "pull": 160, "commit": 60, "assemble": 140, "collect": 60,
    "recover": 14, "clean": 5, "verify": 30, "gc": 30, "adopt": 5,
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
    """Which steps are fatal to the drivers of the node, in their order, the most bytes its cache may hold, and whether
    the Go driver ran there before."""

    fatal: tuple[Step, ...]
    models: tuple[Model, ...]
    limit: int
    elders: bool

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
        elders = first == "adopt" or seed % 5 == 0
        return cls(tuple(_step(kind, chance) for kind in order), models, _room(models) if limited else 0, elders)


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
    elders = Elders(node, random.Random(f"{seed} elders")) if plan.elders else None
    cast = Cast(places, Operator(node, catalogue.operators, random.Random(f"{seed} operator")), elders,
                Pool(f"seed-{seed}", _PLACES + 2))  # fmt: skip
    try:
        with checks.being_read(places):
            for fatal in plan.fatal:
                tally.died(_until_killed(launcher, node, fatal, cast))
            _to_the_end(launcher, node, cast)
        checks.nothing_leaks(node)
        checks.log_is_clean(node)
    except Wrong as wrong:
        log = node.log.read_text(encoding="utf-8")
        steps = ", ".join(f"{step.kind} {step.number}" for step in plan.fatal)
        raise Wrong(f"{wrong}\nfatal steps: {steps}; limit: {plan.limit} bytes\n{log[-4000:]}") from wrong
    finally:
        if elders:
            elders.abandon()
        tally.seeds += 1
        tally.published += sum(place.published for place in places)


@dataclass
class Cast:
    """Everybody on the node who asks something of its drivers, and the threads in which they do."""

    places: list[Place]
    operator: Operator
    elders: Elders | None
    pool: Pool

    def live(self, kubelet: Kubelet, driver: Driver, turns: int) -> None:
        others: list[Callable[[], None]] = [lambda: self.operator.live(driver, turns)]
        if self.elders:
            elders = self.elders
            others.append(lambda: elders.live(kubelet, driver, turns))
        self._all(lambda place: place.live(kubelet, driver, turns), *others)

    def settle(self, kubelet: Kubelet, driver: Driver) -> None:
        self._all(lambda place: place.settle(kubelet, driver))

    def clear(self, kubelet: Kubelet, driver: Driver) -> None:
        self._all(lambda place: place.clear(kubelet, driver))
        if self.elders:
            self.elders.clear(kubelet, driver)
        self.operator.settle(driver)

    def look(self, node: Node) -> None:
        """With the driver dead: whatever is mounted is right."""
        checks.mounts_are_right(node, self.places)
        if self.elders:
            self.elders.look()

    def _all(self, of_place: Callable[[Place], None], *others: Callable[[], None]) -> None:
        """Have it done for all places at once, and the others as well; raises what was raised first."""
        work: list[Callable[[], None]] = [*(partial(of_place, place) for place in self.places), *others]
        for each in [self.pool.submit(one) for one in work]:
            each.result()


def _until_killed(launcher: Launcher, node: Node, fatal: Step, cast: Cast) -> Step | None:
    """The life of a driver, which ends at the fatal step, or at rest if it does not come to that."""
    turns = _MANY_TURNS if fatal.kind == "collect" else _TURNS
    with _driver(launcher, node, fatal) as driver:
        if driver.is_served():
            # It may die while it is looked at, which changes nothing of what is looked at.
            checks.is_recovered(node, driver)
            kubelet = Kubelet(node)
            try:
                cast.live(kubelet, driver, turns)
            finally:
                kubelet.close()
        step = driver.kill()
    cast.look(node)
    return step


def _to_the_end(launcher: Launcher, node: Node, cast: Cast) -> None:
    """The life of the last driver: all pods come to run, then go, and nothing is left."""
    with _driver(launcher, node, None) as driver:
        if not driver.is_served():
            raise Wrong("the last driver did not come to serve")
        checks.is_recovered(node, driver)
        kubelet = Kubelet(node)
        try:
            cast.settle(kubelet, driver)
            cast.look(node)
            if len(node.mounted()) != len(cast.places):
                raise Wrong("a pod runs without its volume")
            cast.clear(kubelet, driver)
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


def _step(kind: str, chance: random.Random) -> Step:
    most = KINDS.get(kind, 1000)
    return Step(kind, chance.randint(1, min(most, _FEW) if chance.random() < _EARLY else most))


def _room(models: Iterable[Model]) -> int:
    """Bytes for as many of the largest models as there are pods, and one more: what is compressed reserves more."""
    sizes = sorted((model.size for model in models), reverse=True)
    return sum(sizes[:_PLACES]) + sizes[0]
