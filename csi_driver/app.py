"""The composition root: everything is built here, once; it recovers, serves, and stops when it is told to."""

import gc
import logging
import os
import signal
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from csi_driver import __version__, log
from csi_driver.cache import gauges as cache_gauges
from csi_driver.cache.gauges import count_evicted
from csi_driver.cache.layout import Places
from csi_driver.cache.limits import Limits
from csi_driver.cache.pins import Pins
from csi_driver.cache.references import References
from csi_driver.cache.secret import secret
from csi_driver.cache.store import Cache
from csi_driver.config import Config, LiveConfig
from csi_driver.config import Credentials as CredentialSettings
from csi_driver.csi.controller import Controller
from csi_driver.csi.endpoint import Endpoint
from csi_driver.csi.identity import Identity
from csi_driver.csi.models import Models
from csi_driver.csi.node import Node
from csi_driver.csi.server import Server
from csi_driver.csi.waiting import PLACES, WaitingRoom
from csi_driver.errors import InvalidRequest
from csi_driver.host import capabilities, files
from csi_driver.host.mounts import Mounts
from csi_driver.inflight import Deadline, Stop, every, spawn
from csi_driver.kube.api import Api
from csi_driver.kube.events import Events
from csi_driver.kube.node import KubeNode
from csi_driver.kube.pods import Pods
from csi_driver.metrics import Metrics
from csi_driver.oci.descriptor import Platform
from csi_driver.puller.artifact import Artifacts
from csi_driver.puller.board import Board
from csi_driver.puller.intents import Intents
from csi_driver.puller.layers import LayerFetcher
from csi_driver.puller.making import Maker
from csi_driver.puller.prefetch import Prefetcher
from csi_driver.puller.puller import Puller
from csi_driver.puller.resolver import Resolver
from csi_driver.puller.wishes import configured_pins, wishes
from csi_driver.registry.client import Registry
from csi_driver.registry.hostsdir import HostsDirectory
from csi_driver.registry.keychain import Helpers, Keychain, Providers
from csi_driver.registry.retry import Retry
from csi_driver.registry.transport import Transport
from csi_driver.tracing import Tracing
from csi_driver.transfer.engine import Engine
from csi_driver.transfer.limits import Limits as LayerLimits
from csi_driver.transfer.stream import Patience
from csi_driver.verifier.verifier import Verifier
from csi_driver.volumes import gauges as volume_gauges
from csi_driver.volumes.announcer import Announcer
from csi_driver.volumes.cluster import Cluster
from csi_driver.volumes.collector import Collector
from csi_driver.volumes.credentials import Credentials
from csi_driver.volumes.inventory import Inventory
from csi_driver.volumes.latency import Latency
from csi_driver.volumes.orphans import settle
from csi_driver.volumes.predecessor import Predecessor
from csi_driver.volumes.publisher import Publisher
from csi_driver.volumes.records import Records
from csi_driver.volumes.recovery import mounted_snapshots, recover
from csi_driver.volumes.upkeep import Upkeep

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_GRACE = 20.0  # seconds; Kubernetes gives a pod 30 (terminationGracePeriodSeconds)
_LAST_SPANS = 2.0  # seconds
_LOOK = 10.0  # seconds between looks at the configuration file
_MINUTE = 60.0
_HOUR = 3600.0


class Driver:
    """One driver on one data root and one socket, from `start` to `stop`."""

    def __init__(self, config: Config, path: Path | None = None) -> None:
        """`path` is the file that `config` came from, which is looked at for changes."""
        self._live = LiveConfig(config, path, check=configured_pins)
        # The mount table knows no links, so it tells what is in use only of a data root that is named without any.
        self._config = config = replace(config, root_dir=config.root_dir.resolve())
        self._places = Places(config.root_dir)
        self._stop = Stop()
        self._metrics = Metrics()
        self._served = ExitStack()  # what else has to be closed at the end
        self._tracing = Tracing(
            config.trace_endpoint, service=config.service_name, version=__version__, node=config.node_id
        )
        self._mounts = Mounts()
        self._records = Records(self._places.volumes)
        self._references = References(self._places.references)
        self._pins = Pins(
            self._places.pins,
            configured=lambda: configured_pins(self._live.current()),
            meanings=self._references.meanings,
        )
        self._cache = Cache(
            config.root_dir,
            in_use=self._snapshots_in_use,
            pinned=self._pins.keys,
            limits=lambda: Limits.of(self._live.current()),
            evicted=lambda plan: count_evicted(plan, self._metrics),
        )
        pull = config.pull_config
        self._transport = Transport(
            stall_timeout=pull.stall_timeout_in_seconds,
            proxy_url=pull.proxy_url,
            ca_file=lambda: _named(self._live.current().pull_config.ca_file),
        )
        self._board = Board(self._metrics)
        self._intents = Intents(self._places.wanted)
        self._providers = Providers(settings=self._credentials)
        self._puller = self._new_puller()
        self._prefetcher = Prefetcher(
            puller=self._puller,
            intents=self._intents,
            wishes=lambda: wishes(self._live.current()),
            stop=self._stop,
            metrics=self._metrics,
        )
        self._inventory = Inventory(cache=self._cache, records=self._records)
        kubeconfig = Path(config.kubernetes.kubeconfig) if config.kubernetes.kubeconfig else None
        self._api = Api(timeout=config.kubernetes.timeout_in_seconds, kubeconfig=kubeconfig)
        cache_gauges.watch(self._cache, self._metrics)
        volume_gauges.watch(self._records, self._metrics)
        self._metrics.watch("model_csi_node_not_ready", "1 while the driver serves nobody.", lambda: not self._ready)
        self._cluster = self._new_cluster()
        self._predecessor = Predecessor(self._places.volumes, mounts=self._mounts, take=self._cache.take_away)
        self._metrics.watch(
            "model_csi_left_volumes_bytes", "Bytes of volumes that the Go driver left.", self._predecessor.total_bytes
        )
        self._verifier = Verifier(
            cache=self._cache,
            volumes_of=self._inventory.volumes_of,
            rate=lambda: self._live.current().verification.max_bytes_per_second,
            metrics=self._metrics,
        )
        self.upkeep = Upkeep(
            cache=self._cache,
            records=self._records,
            references=self._references,
            pins=self._pins,
            predecessor=self._predecessor,
            verifier=self._verifier,
            interval=lambda: self._live.current().verification.interval_in_seconds,
            stop=self._stop,
        )
        self._waiting = WaitingRoom(hold_seconds=config.pull_config.publish_hold_in_seconds, places=PLACES)
        self._server = self._new_server()
        self._ready = False

    def start(self) -> None:
        """Recover what the driver before left behind, then serve."""
        self._cache.recover()
        recovered = recover(self._records, self._mounts, self._places.snapshots)
        orphans = settle(self._records, self._mounts, self._places.snapshots, self._cache.snapshot)
        found: dict[str, Any] = {
            "volumes": recovered.kept,
            "dropped_records": recovered.dropped,
            "restored_records": orphans.restored,
            "removed_mounts": orphans.removed,
            "other_mounts": orphans.left,
        }
        self._metrics.count_recovered(found)
        log.event("recovered", root=self._config.root_dir, **found)
        if self._config.metrics_addr:
            self._served.enter_context(self._metrics.serve(self._config.metrics_addr))
        self._server.start()
        self._ready = True
        self._cluster.start()
        spawn("trash", lambda: self._cache.sweep(self._stop))
        spawn("prefetch", self._prefetcher.run)
        every("configuration", _LOOK, self.reload, self._stop, failed=_refuse)
        every("collect", _MINUTE, self._cache.collect, self._stop, failed=_tell)
        spawn("predecessor", self._predecessor.take_over)
        every("housekeeping", _HOUR, self.upkeep.housekeep, self._stop, failed=_tell)
        every("verification", _MINUTE, self.upkeep.verify_due, self._stop, failed=_tell)

    def reload(self) -> None:
        """Let the configuration file's live settings take effect; raises `InvalidRequest` and changes nothing."""
        change = self._live.refresh()
        if change is None:
            return
        config = self._live.current()
        log.configure(config.log_level, config.log_format)
        self._prefetcher.wake()
        self._cache.collect()
        log.event("the configuration has changed", applied=change.applied, after_a_restart=change.pending)

    def stop(self, grace: float = _GRACE) -> None:
        """Send callers away, end transfers at a place from which they can go on, and leave all mounts alone."""
        self._ready = False
        self._stop.set()
        self._server.stop(grace / 2)
        drained = self._puller.close(Deadline.after(grace / 2))
        self._transport.close()
        self._served.close()
        self._send_last_spans()
        log.event("stopped", pulls_ended=drained)

    def _send_last_spans(self) -> None:
        with suppress(TimeoutError):  # a collector that does not answer must not hold up the stop
            spawn("spans", self._tracing.close).result(timeout=_LAST_SPANS)

    def _credentials(self) -> CredentialSettings:
        return self._live.current().credentials

    def _new_puller(self) -> Puller:
        pull = self._config.pull_config
        registry = Registry(
            transport=self._transport,
            node_keychain=Keychain.of_node(
                pull.docker_config_dir, self._providers, Helpers(settings=self._credentials)
            ),
            retry=Retry(patience=pull.retry_patience_in_seconds, sleep=self._stop.wait),
            plain_http_hosts=pull.plain_http_hosts,
            hosts=HostsDirectory(lambda: _named(self._live.current().pull_config.hosts_dir)),
        )
        resolver = Resolver(
            registry=registry,
            cache=self._cache,
            references=self._references,
            platform=Platform.of_machine(os.uname().machine),
            access_ttl=pull.access_ttl_in_seconds,
            secret=secret(self._places.secret),
            policy=lambda: self._live.current().policy,
        )
        layers = LayerFetcher(
            cache=self._cache,
            engine=self._new_engine(),
            metrics=self._metrics,
            tracing=self._tracing,
            board=self._board,
            concurrency=pull.concurrency,
        )
        artifacts = Artifacts(registry=registry, resolver=resolver, cache=self._cache)
        return Puller(
            resolver=resolver,
            maker=Maker(artifacts=artifacts, cache=self._cache, layers=layers, tracing=self._tracing),
            cache=self._cache,
            board=self._board,
            intents=self._intents,
            metrics=self._metrics,
            tracing=self._tracing,
        )

    def _new_engine(self) -> Engine:
        pull = self._config.pull_config
        return Engine(
            limits=lambda: LayerLimits.of(self._live.current()),
            patience=Patience(slowest=pull.stall_bytes_per_second, window=pull.stall_timeout_in_seconds),
            connections=pull.connections,
            bandwidth=lambda: self._live.current().pull_config.bandwidth_limit,
        )

    def _new_cluster(self) -> Cluster:
        config, api = self._config, self._api
        return Cluster(
            settings=config.kubernetes,
            events=Events(api=api, component=config.service_name, node=config.node_id),
            node=KubeNode(api=api, name=config.node_id, driver=config.service_name),
            inventory=self._inventory,
            stop=self._stop,
        )

    def _new_server(self) -> Server:
        config = self._config
        publisher = Publisher(
            puller=self._puller,
            credentials=Credentials(pods=Pods(self._api), providers=self._providers, settings=self._credentials),
            records=self._records,
            mounts=self._mounts,
            announcer=Announcer(post=self._cluster.announce),
            predecessor=self._predecessor,
            latency=Latency(self._metrics),
            root=config.root_dir,
            noexec=config.noexec,
        )
        return Server(
            endpoint=Endpoint.parse(config.csi_endpoint),
            identity=Identity(name=config.service_name, ready=lambda: self._ready),
            node=Node(
                publisher=publisher, waiting=self._waiting, service_name=config.service_name, node_id=config.node_id
            ),
            controller=Controller(),
            models=Models(
                puller=self._puller,
                inventory=self._inventory,
                pins=self._pins,
                verifier=self._verifier,
                collector=Collector(cache=self._cache, predecessor=self._predecessor),
                waiting=self._waiting,
            ),
            waiting=self._waiting,
            observe=self._metrics.observe,
            tracing=self._tracing,
        )

    def _snapshots_in_use(self) -> set[str]:
        return mounted_snapshots(self._records.all(), self._mounts, self._places.snapshots)


def run(config: Config, path: Path | None = None) -> None:
    """Serve until SIGTERM or SIGINT comes, with the live settings of `path` as they are when it changes, or on SIGHUP.

    Raises `Conflict` when another driver has the data root or the socket.
    """
    log.configure(config.log_level, config.log_format)
    log.event("starting", version=__version__, driver=config.service_name, node=config.node_id)
    for name in config.ignored:
        log.warning("a setting of the Go driver has no effect here", setting=name)
    # Blocked in every thread and waited for in this one: no handler can come at a moment when a lock is held.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    config.root_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with files.exclusive_lock(Places(config.root_dir).lock):
        capabilities.give_up_others()
        driver = Driver(config, path)
        driver.start()
        gc.freeze()  # what start-up made stays for good: looking through it again would cost each pull a few per cent
        while (received := signal.sigwait(_SIGNALS)) == signal.SIGHUP:
            try:
                driver.reload()
            except InvalidRequest as error:
                _refuse(error)
        log.event("stopping", signal=signal.Signals(received).name)
        driver.stop()


def _named(path: str) -> Path | None:
    return Path(path) if path else None


def _tell(error: Exception) -> None:
    log.event("housekeeping failed and is tried again later", level=logging.ERROR, error=error)


def _refuse(error: Exception) -> None:
    log.warning("the changed configuration is refused, and the one before stays in force", reason=error)
