"""Whoever looks after the node: has models pulled, verified and given up, on a disk that damages some of them."""

import random
from contextlib import suppress

from csi_driver.csi.client import Client
from csi_driver.errors import NoSpace, NotFound, StillPulling, Unavailable
from csi_driver.verifier.report import Report
from e2e.crash.catalogue import Model
from e2e.crash.node import Driver, Node, Wrong, content

_PASSING = (Unavailable, StillPulling, NoSpace, NotFound)  # NotFound: the model was given up meanwhile
_ROUNDS, _PAUSE = 500, 0.02


class Operator:
    """Its models are no pod's, and share nothing with those of pods: what is damaged of them, no pod ever sees."""

    def __init__(self, node: Node, models: tuple[Model, ...], chance: random.Random) -> None:
        self._node = node
        self._models = models
        self._chance = chance

    def live(self, driver: Driver, turns: int) -> None:
        """Do what operators do, until the driver has died or so many things were done."""
        with suppress(*_PASSING), Client(self._node.endpoint) as client:
            for _ in range(turns):
                if driver.is_dead():
                    return
                model = self._chance.choice(self._models)
                act = self._chance.choice((self._pull, self._pull, self._verify, self._collect))
                with suppress(*_PASSING):
                    act(client, model)

    def settle(self, driver: Driver) -> None:
        """Whatever was damaged until now is found, and every model is whole."""
        for _ in range(_ROUNDS):
            with suppress(*_PASSING), Client(self._node.endpoint) as client:
                self._is_whole(client)
                return
            if driver.is_dead(_PAUSE):
                break
        raise Wrong("the operator cannot verify or pull")

    def _is_whole(self, client: Client) -> None:
        *_, report = client.verify([], max_bytes_per_second=-1)
        *_, again = client.verify([], max_bytes_per_second=-1)
        if not isinstance(report, Report) or not isinstance(again, Report) or again.findings:
            raise Wrong(f"what was damaged is still there: {again}")
        for number, model in enumerate(self._models):
            target = self._node.directory / f"operators-{number}"
            client.publish(f"operators-{number}", target, model.attributes)
            if content(target) != model.files:
                raise Wrong(f"{model.reference} is wrong after it was damaged and verified")
            client.unpublish(f"operators-{number}", target)

    def _pull(self, client: Client, model: Model) -> None:
        for _ in client.pull(model.reference):
            pass
        if self._chance.random() < 0.5:
            self._damage(model)

    def _damage(self, model: Model) -> None:
        """One byte of a file of the model changes, if it is here."""
        for path in sorted((self._node.root / "layers").rglob("*")):
            with suppress(OSError):
                if path.is_file() and path.stat().st_size == model.size:
                    with path.open("r+b") as file:
                        byte = file.read(1)
                        file.seek(0)
                        file.write(bytes([byte[0] ^ 1]))
                    return

    def _verify(self, client: Client, model: Model) -> None:
        wanted = [] if self._chance.random() < 0.5 else [model.reference]
        for _ in client.verify(wanted, max_bytes_per_second=-1):
            pass

    def _collect(self, client: Client, _: Model) -> None:
        free = self._chance.choice((0, -1, 100_000, 2_000_000))
        client.collect(free, dry_run=self._chance.random() < 0.2)
