"""What is measured: for each kind of model our time, the limits of the machine, the others, and the goals."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.bench import engine, goals, limits, peers
from tests.bench.data import Blob, Data
from tests.bench.goals import OURS, Goal
from tests.bench.measure import Usage
from tests.bench.servers import RATE, Addresses

SERVED = "model-csi serve"
SHA256, SHA256_TWICE = "sha256 (openssl)", "sha256 on two cores"
NETWORK, NETWORK_TLS, DISK = "network to nowhere (curl)", "TLS to nowhere (curl)", "disk (O_DIRECT)"
CURL_RAW, CURL_TAR, CURL_ONLY_TAR = "curl | tee | openssl", "curl | tee >(openssl) | tar", "curl | tar"
ARIA2, SKOPEO, MODCTL = "aria2c", "skopeo", "modctl pull"
CONNECTIONS = 16

# What is known about goals that may not be reached; each is shown below the table when it is not.
_PYTHON = (
    "Python and its gRPC server take 55 MB before the first byte, modctl 30 MB for everything; not in these numbers is "
    "the page cache, through which modctl writes the whole model, and which counts where a pod's memory is limited"
)
_EACH_FILE = (
    "the driver checks each header, keeps what proves the layer's digest later, and gives each file its second name in "
    "the snapshot, and the kernel takes half of its time; tar, in C, does none of this"
)
_ALL_CORES = (
    "both cores are busy all the time with receiving, hashing and the registry itself, which runs on them too, while "
    "each limit is measured when the others rest"
)
_HASHING = (
    "hashing and receiving, which the rows of sha256 and of the network show each by itself, take nearly as much CPU "
    "together, and both take longer the busier the other core is"
)
_UNPACKING = "hashing, and decompressing where it is compressed, are most of it, and both must do that"
_RAMP = (
    "it takes half a second to see that a connection is slow and one more to have 16, which counts the more the less "
    "there is to fetch (a quick run cannot reach it); then as many buffers are on their way "
    "from the registry as there are, and those that are being hashed and written are missing there"
)
_IDLE = "gRPC and protobuf are 17 MB of it, Python itself 9 MB, the command line and the metrics another 9 MB"


@dataclass(frozen=True, slots=True)
class Contestant:
    """Someone who does the work, or a part of it, in an empty directory; `needs` is the program it takes.

    `only_in_full` keeps those out of a quick run that no goal speaks of, `once` out of all rounds but the first those
    that take longest.
    """

    name: str
    kind: str  # ours, limit or peer
    work: Callable[[Path], Usage]
    needs: str = ""
    only_in_full: bool = False
    once: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of model; its blobs are what rates and CPU seconds are counted by."""

    name: str
    title: str
    blobs: tuple[Blob, ...]
    contestants: tuple[Contestant, ...]
    goals: tuple[Goal, ...] = ()
    makes_many_files: bool = False


@dataclass(frozen=True, slots=True)
class Cases:
    """All cases over one set of data, as it is served."""

    data: Data
    at: Addresses
    modctl: str

    def all(self) -> Iterator[Case]:
        """In the order in which they are measured."""
        data = self.data
        yield self._small()
        yield self._raw()
        yield self._parts()
        yield self._tree("tar", "tar", data.tar, "-xf", goals.within(1.2, SHA256, why_not=_HASHING), modctl=True)
        yield self._tree("gzip", "tar+gzip", data.gzip, "-xzf", goals.within(1.25, "igzip -dc"))
        yield self._tree("zstd", "tar+zstd", data.zstd, "--zstd -xf", goals.within(1.6, "zstd -dc"))
        yield self._slow()
        yield self._tls()
        start = (Contestant(SERVED, "ours", engine.start),)
        yield Case(
            "start", "start to serving", (), start, (goals.seconds(0.4, SERVED), goals.memory(60, SERVED, _IDLE))
        )

    def _small(self) -> Case:
        blob, url = self.data.small, self._url(self.data.small)
        contestants = (
            *self._ours("small", self.data.small, served=True),
            Contestant(CURL_ONLY_TAR, "peer", partial(peers.curl_unverified, url)),
            Contestant(CURL_TAR, "peer", partial(peers.curl, url, blob, unpack="-xf"), "openssl", only_in_full=True),
            *self._modctl("small", only_in_full=True),
        )
        return Case("small", "10,000 files of 4 KB in a tar", (blob,), contestants,
                    (goals.within(1.2, CURL_ONLY_TAR, why_not=_EACH_FILE),), makes_many_files=True)  # fmt: skip

    def _raw(self) -> Case:
        blob, url = self.data.raw, self._url(self.data.raw)
        contestants = (
            *self._ours("raw", blob, served=True),
            Contestant(SHA256, "limit", partial(limits.sha256, blob)),
            Contestant(NETWORK, "limit", partial(limits.network, [url])),
            Contestant(DISK, "limit", partial(limits.disk, blob.size)),
            Contestant(CURL_RAW, "peer", partial(peers.curl, url, blob), "openssl"),
            Contestant(ARIA2, "peer", partial(peers.aria2c, [url], [blob]), "aria2c", only_in_full=True),
            Contestant(
                SKOPEO,
                "peer",
                partial(peers.skopeo, self._reference("raw"), blob),
                "skopeo",
                only_in_full=True,
                once=True,
            ),
            *self._modctl("raw"),
        )
        own = (goals.cpu_per_gb(1.1, blob.size, _HASHING), goals.memory(128))
        against = (goals.within(1.15, SHA256, why_not=_HASHING), *_beating(CURL_RAW), *_beating_modctl())
        return Case("raw", "one raw layer", (blob,), contestants, (*own, *against))

    def _parts(self) -> Case:
        blobs, size = self.data.parts, self.data.raw.size
        urls = [self._url(blob) for blob in blobs]
        contestants = (
            *self._ours("parts", *blobs),
            Contestant(SHA256_TWICE, "limit", partial(limits.sha256_on_two_cores, blobs)),
            Contestant(NETWORK, "limit", partial(limits.network, urls)),
            Contestant(DISK, "limit", partial(limits.disk, size)),
            Contestant(CURL_RAW, "peer", partial(peers.curl_each, urls, blobs), "openssl"),
            Contestant(ARIA2, "peer", partial(peers.aria2c, urls, blobs), "aria2c", only_in_full=True),
            *self._modctl("parts"),
        )
        wanted = (
            goals.within(1.35, NETWORK, DISK, SHA256_TWICE, why_not=_ALL_CORES),
            *_beating(CURL_RAW),
            *_beating_modctl(),
        )
        return Case("parts", f"{len(blobs)} raw layers", blobs, contestants, wanted)

    def _tree(self, name: str, packing: str, blob: Blob, unpack: str, goal: Goal, *, modctl: bool = False) -> Case:
        url = self._url(blob)
        limit: dict[str, Callable[[Path], Usage]] = {
            "tar": partial(limits.sha256, blob),
            "gzip": partial(limits.gunzip, blob),
            "zstd": partial(limits.unzstd, blob),
        }
        contestants = [
            *self._ours(name, blob),
            *(Contestant(row, "limit", limit[name]) for row in goal.row),
            Contestant(CURL_TAR, "peer", partial(peers.curl, url, blob, unpack=unpack), "openssl"),
        ]
        if modctl:
            skopeo = partial(peers.skopeo, self._reference(name), blob, unpack=unpack)
            contestants += [
                Contestant(f"{SKOPEO}, tar", "peer", skopeo, "skopeo", only_in_full=True, once=True),
                *self._modctl(name),
            ]
        wanted = (goal, *_beating(CURL_TAR), *(_beating_modctl() if modctl else ()))
        return Case(name, f"one {packing} layer", (blob,), tuple(contestants), wanted)

    def _slow(self) -> Case:
        blob = self.data.raw
        url = f"http://{self.at.slow}/v2/bench/raw/blobs/{blob.digest}"
        work = partial(engine.pull, f"{self.at.slow}/bench/raw:v1", blob.size)
        aria2c = partial(peers.aria2c, [url], [blob], connections=CONNECTIONS)
        contestants = (
            Contestant(OURS, "ours", work),
            Contestant(f"{ARIA2}, {CONNECTIONS} connections", "peer", aria2c, "aria2c", only_in_full=True),
        )
        goal = goals.rate(0.85 * CONNECTIONS * RATE / 1e6, blob.size, _RAMP)
        return Case("slow", f"one raw layer, {RATE // 10**6} MB/s a connection", (blob,), contestants, (goal,))

    def _tls(self) -> Case:
        blob = self.data.raw
        url = f"https://{self.at.tls}/v2/bench/raw/blobs/{blob.digest}"
        ca_file = self.at.ca_file
        work = partial(engine.pull, f"{self.at.redirecting}/bench/raw:v1", blob.size, ca_file=ca_file)
        contestants = (
            Contestant(OURS, "ours", work),
            Contestant(NETWORK_TLS, "limit", partial(limits.network, [url], ca_file=ca_file)),
            Contestant(CURL_RAW, "peer", partial(peers.curl, url, blob, ca_file=ca_file), "openssl", only_in_full=True),
        )
        return Case("tls", "one raw layer over TLS", (blob,), contestants)

    def _ours(self, name: str, *blobs: Blob, served: bool = False) -> Iterator[Contestant]:
        reference = self._reference(name)
        size = 0 if name == "small" else sum(blob.size for blob in blobs)
        yield Contestant(OURS, "ours", partial(engine.pull, reference, size))
        if served:
            yield Contestant(SERVED, "ours", partial(engine.pull_through_driver, reference, size))

    def _modctl(self, name: str, *, only_in_full: bool = False) -> Iterator[Contestant]:
        work = partial(peers.modctl, self.modctl, self._reference(name))
        yield Contestant(MODCTL, "peer", work, "modctl", only_in_full)

    def _reference(self, name: str) -> str:
        return f"{self.at.plain}/bench/{name}:v1"

    def _url(self, blob: Blob) -> str:
        return f"http://{self.at.plain}/v2/bench/any/blobs/{blob.digest}"


def _beating(peer: str) -> tuple[Goal, Goal]:
    return goals.faster(1.8, peer), goals.less_cpu(0.5, peer, _UNPACKING if peer == CURL_TAR else _HASHING)


def _beating_modctl() -> tuple[Goal, Goal]:
    return goals.faster(1.5, MODCTL), goals.less_memory(0.5, MODCTL, _PYTHON)
