"""What a driver is made of: every part is built here, once, and is given those it works with. Nothing begins yet."""

import os
from dataclasses import replace
from pathlib import Path

from csi_driver import __version__
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
from csi_driver.host.mounts import Mounts
from csi_driver.inflight import Stop
from csi_driver.kube.api import Api
from csi_driver.kube.events import Events
from csi_driver.kube.node import KubeNode
from csi_driver.kube.pods import Pods
from csi_driver.metrics import Metrics
from csi_driver.oci.descriptor import Platform
from csi_driver.puller.artifact import Artifacts
from csi_driver.puller.board import Board
from csi_driver.puller.intents import Intents
from csi_driver.puller.layers import LayerFetcher, most_at_once
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
from csi_driver.volumes.predecessor import Predecessor
from csi_driver.volumes.publisher import Publisher
from csi_driver.volumes.records import Records
from csi_driver.volumes.recovery import mounted_snapshots
from csi_driver.volumes.upkeep import Upkeep


class Parts:
    """The parts of one driver on one data root and one socket; `ready` is for whoever starts them to say."""

    def __init__(self, config: Config, path: Path | None = None) -> None:
        """`path` is the file that `config` came from, which is looked at for changes."""
        self.live = LiveConfig(config, path, check=configured_pins)
        # The mount table knows no links, so it tells what is in use only of a data root that is named without any.
        self.config = config = replace(config, root_dir=config.root_dir.resolve())
        self.places = Places(config.root_dir)
        self.stop = Stop()
        self.metrics = Metrics()
        self.tracing = Tracing(
            config.trace_endpoint, service=config.service_name, version=__version__, node=config.node_id
        )
        self.mounts = Mounts()
        self.records = Records(self.places.volumes)
        self._references = References(self.places.references)
        self._pins = Pins(
            self.places.pins,
            configured=lambda: configured_pins(self.live.current()),
            meanings=self._references.meanings,
        )
        self.cache = Cache(
            config.root_dir,
            in_use=self._snapshots_in_use,
            pinned=self._pins.keys,
            limits=lambda: Limits.of(self.live.current()),
            evicted=lambda plan: count_evicted(plan, self.metrics),
        )
        pull = config.pull_config
        self.transport = Transport(
            stall_timeout=pull.stall_timeout_in_seconds,
            proxy_url=pull.proxy_url,
            ca_file=lambda: _named(self.live.current().pull_config.ca_file),
        )
        self._board = Board(self.metrics)
        self._intents = Intents(self.places.wanted)
        self._providers = Providers(settings=self._credentials)
        self.puller = self._new_puller()
        self.prefetcher = Prefetcher(
            puller=self.puller,
            intents=self._intents,
            wishes=lambda: wishes(self.live.current()),
            stop=self.stop,
            metrics=self.metrics,
        )
        self._inventory = Inventory(cache=self.cache, records=self.records)
        kubeconfig = Path(config.kubernetes.kubeconfig) if config.kubernetes.kubeconfig else None
        self._api = Api(timeout=config.kubernetes.timeout_in_seconds, kubeconfig=kubeconfig)
        cache_gauges.watch(self.cache, self.metrics)
        volume_gauges.watch(self.records, self.metrics)
        self.metrics.watch("model_csi_node_not_ready", "1 while the driver serves nobody.", lambda: not self.ready)
        self.cluster = self._new_cluster()
        self.predecessor = Predecessor(self.places.volumes, mounts=self.mounts, take=self.cache.take_away)
        self.metrics.watch(
            "model_csi_left_volumes_bytes", "Bytes of volumes that the Go driver left.", self.predecessor.total_bytes
        )
        self._verifier = Verifier(
            cache=self.cache,
            volumes_of=self._inventory.volumes_of,
            rate=lambda: self.live.current().verification.max_bytes_per_second,
            metrics=self.metrics,
        )
        self.upkeep = Upkeep(
            cache=self.cache,
            records=self.records,
            references=self._references,
            pins=self._pins,
            predecessor=self.predecessor,
            verifier=self._verifier,
            interval=lambda: self.live.current().verification.interval_in_seconds,
            stop=self.stop,
        )
        self._waiting = WaitingRoom(hold_seconds=config.pull_config.publish_hold_in_seconds, places=PLACES)
        self.server = self._new_server()
        self.ready = False

    def _credentials(self) -> CredentialSettings:
        return self.live.current().credentials

    def _new_puller(self) -> Puller:
        pull = self.config.pull_config
        registry = Registry(
            transport=self.transport,
            node_keychain=Keychain.of_node(
                pull.docker_config_dir, self._providers, Helpers(settings=self._credentials)
            ),
            retry=Retry(patience=pull.retry_patience_in_seconds, sleep=self.stop.wait),
            plain_http_hosts=pull.plain_http_hosts,
            hosts=HostsDirectory(lambda: _named(self.live.current().pull_config.hosts_dir)),
        )
        resolver = Resolver(
            registry=registry,
            cache=self.cache,
            references=self._references,
            platform=Platform.of_machine(os.uname().machine),
            access_ttl=pull.access_ttl_in_seconds,
            secret=secret(self.places.secret),
            policy=lambda: self.live.current().policy,
        )
        layers = LayerFetcher(
            cache=self.cache,
            engine=self._new_engine(),
            metrics=self.metrics,
            tracing=self.tracing,
            board=self._board,
            concurrency=pull.concurrency,
        )
        artifacts = Artifacts(registry=registry, resolver=resolver, cache=self.cache)
        return Puller(
            resolver=resolver,
            maker=Maker(artifacts=artifacts, cache=self.cache, layers=layers, tracing=self.tracing),
            cache=self.cache,
            board=self._board,
            intents=self._intents,
            metrics=self.metrics,
            tracing=self.tracing,
        )

    def _new_engine(self) -> Engine:
        pull = self.config.pull_config
        return Engine(
            limits=lambda: LayerLimits.of(self.live.current()),
            patience=Patience(slowest=pull.stall_bytes_per_second, window=pull.stall_timeout_in_seconds),
            blobs=most_at_once(pull.concurrency),
            connections=pull.connections,
            bandwidth=lambda: self.live.current().pull_config.bandwidth_limit,
        )

    def _new_cluster(self) -> Cluster:
        config, api = self.config, self._api
        return Cluster(
            settings=config.kubernetes,
            events=Events(api=api, component=config.service_name, node=config.node_id),
            node=KubeNode(api=api, name=config.node_id, driver=config.service_name),
            inventory=self._inventory,
            stop=self.stop,
        )

    def _new_server(self) -> Server:
        config = self.config
        publisher = Publisher(
            puller=self.puller,
            credentials=Credentials(pods=Pods(self._api), providers=self._providers, settings=self._credentials),
            records=self.records,
            mounts=self.mounts,
            announcer=Announcer(post=self.cluster.announce),
            predecessor=self.predecessor,
            latency=Latency(self.metrics),
            root=config.root_dir,
            noexec=config.noexec,
        )
        return Server(
            endpoint=Endpoint.parse(config.csi_endpoint),
            identity=Identity(name=config.service_name, ready=lambda: self.ready),
            node=Node(
                publisher=publisher, waiting=self._waiting, service_name=config.service_name, node_id=config.node_id
            ),
            controller=Controller(),
            models=Models(
                puller=self.puller,
                inventory=self._inventory,
                pins=self._pins,
                verifier=self._verifier,
                collector=Collector(cache=self.cache, predecessor=self.predecessor),
                waiting=self._waiting,
            ),
            waiting=self._waiting,
            observe=self.metrics.observe,
            tracing=self.tracing,
        )

    def _snapshots_in_use(self) -> set[str]:
        return mounted_snapshots(self.records.all(), self.mounts, self.places.snapshots)


def _named(path: str) -> Path | None:
    return Path(path) if path else None
