"""Every setting there is, with its default, its unit and its reason."""

from dataclasses import dataclass, field
from pathlib import Path

from csi_driver.config.kinds import (
    Choice,
    Count,
    Mark,
    Number,
    PrefetchEntry,
    flag,
    hosts,
    mark,
    names,
    optional_path,
    path,
    prefetch,
    setting,
    size,
    taint_key,
    text,
)
from csi_driver.config.policy import NamespaceRules, namespaces, patterns

DEFAULT_NAME = "model.csi.modelpack.org"
DEFAULT_ENDPOINT = "unix:///csi/csi.sock"

# Settings of the Go driver that say nothing to this one; they are accepted, and named in the log at start.
IGNORED = frozenset(
    {"external_csi_endpoint", "external_csi_authorization", "dynamic_csi_endpoint", "pprof_addr",
     "pull_config.dragonfly_endpoint", "pull_config.pull_layer_timeout_in_seconds", "features.check_disk_quota"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PullConfig:
    """How models are fetched from registries."""

    docker_config_dir: Path = setting(
        Path("/root/.docker"),
        path,
        "Directory of the node's docker config.json; if not set, DOCKER_CONFIG, or .docker in the home directory.",
    )
    proxy_url: str = setting(
        "", text, "Proxy for registries; empty means HTTPS_PROXY and HTTP_PROXY of the environment."
    )
    concurrency: int = setting(
        5,
        Count(1, 64, zero_means=5),
        "Layers fetched at once on this node; models take turns. Layers that arrive at less than 1 MiB a second hold "
        "up no other model: each may still fetch one layer, up to twice as many layers in all.",
    )
    plain_http_hosts: tuple[str, ...] = setting(
        (), hosts, "Registries (host or host:port) reached over plain HTTP. Loopback addresses need not be listed."
    )
    hosts_dir: str = setting(
        "",
        optional_path,
        "Directory of hosts.toml files in containerd's form, with mirrors, authorities and client certificates for "
        "each registry, such as /etc/containerd/certs.d; empty means none. Files in it are read again when they "
        "change.",
        live=True,
    )
    ca_file: str = setting(
        "",
        optional_path,
        "Certificates (PEM) of authorities to trust for every registry, besides the system's; empty means "
        "none. Read again when it changes.",
        live=True,
    )
    publish_hold_in_seconds: float = setting(
        110.0,
        Number(1, 3600),
        "Longest time that a NodePublishVolume call waits for a pull. kubelet gives up after 120 s, so the call should "
        "end just before.",
    )
    stall_timeout_in_seconds: float = setting(
        30.0, Number(1, 3600), "A transfer that brings no byte for this long is dropped and requested again."
    )
    stall_bytes_per_second: int = setting(
        4096,
        size,
        "A transfer that is slower than this for `stall_timeout_in_seconds` is dropped, too; 0 turns this off.",
    )
    connections: int = setting(
        16,
        Count(1, 64),
        "Most connections for fetching layers, in all: a slow layer is fetched in ranges over several. Each may take "
        "3 MiB of memory.",
    )
    bandwidth_limit: int = setting(
        0, size, "Most bytes of layers that the node receives a second, such as 200MiB; 0 means no limit.", live=True
    )
    retry_patience_in_seconds: float = setting(
        60.0, Number(0, 3600), "How long to retry a registry that is down or busy, before the pull fails."
    )
    access_ttl_in_seconds: float = setting(
        600.0,
        Number(0, 30 * 86400),
        "How long a credential that could read a model is trusted to, without asking the registry again.",
    )


@dataclass(frozen=True, slots=True)
class Features:
    """Switches of the Go driver that keep their names."""

    disk_usage_limit: int = setting(
        0, size, "Most bytes the cache may hold, such as 2TiB; 0 means as much as the filesystem has.", live=True
    )


@dataclass(frozen=True, slots=True)
class CacheConfig:
    """How much the node keeps of models that no pod shows."""

    high_water: Mark = setting(
        Mark(percent=85),
        mark,
        "Above this mark, models that no pod uses are removed, the least recently used first. A share of the "
        "filesystem in use (by bytes or inodes, whoever uses it; the default is kubelet's for images), or a size of "
        "the cache.",
        live=True,
    )
    low_water: Mark = setting(Mark(percent=80), mark, "The mark down to which they are then removed.", live=True)
    keep_free: Mark | None = setting(
        None,
        mark,
        "How much of the filesystem pulls leave free: a share or a size; if not set, 1 % but at most 256 MiB. kubelet "
        "evicts pods from a node whose root filesystem has less than 10 % left.",
        live=True,
    )
    minimum_age_in_seconds: float = setting(
        120.0,
        Number(0, 365 * 86400),
        "Models used within this time are removed only if a pod's model needs their room. The default is kubelet's for "
        "images.",
        live=True,
    )
    pins: tuple[str, ...] = setting(
        (), names, "Models that are never removed, by reference or by manifest digest (sha256:…).", live=True
    )


@dataclass(frozen=True, slots=True)
class LimitsConfig:
    """What one layer may ask of the node, against archives that were made to do harm."""

    layer_entries: int = setting(
        1_000_000, Count(1, 1 << 30), "Most files, links and directories in one archive.", live=True
    )
    layer_size: int = setting(
        16 << 40,
        size,
        "Most bytes that one layer may unpack to, the holes of sparse files included; 0 means any number.",
        live=True,
    )
    compression_ratio: int = setting(
        200,
        Count(1, 1 << 20),
        "How many times its own size a compressed layer may unpack to, if that is more than 4 GiB. Zeros shrink a "
        "thousandfold, anything else in models to no less than a fifth.",
        live=True,
    )


@dataclass(frozen=True, slots=True)
class Kubernetes:
    """How the Kubernetes API is reached, which only settings that say so need."""

    kubeconfig: str = setting(
        "", optional_path, "A kubeconfig file, for drivers outside of a pod; empty means the pod's service account."
    )
    timeout_in_seconds: float = setting(
        5.0, Number(0.1, 60), "Longest time for connecting to the Kubernetes API, and again for its answer."
    )
    events: bool = setting(
        False,
        flag,
        "Whether the driver writes events on pods that show how far their pulls are; it must be allowed to create, get "
        "and patch events.",
    )
    node_labels: int = setting(
        0,
        Count(0, 100),
        "How many cached models the node is labelled with, for schedulers; those used most recently. The driver must "
        "be allowed to get and patch nodes.",
    )
    startup_taint: str = setting(
        "",
        taint_key,
        "Key of a taint to remove from the node once kubelet knows the driver, so that pods come only then. The driver "
        "must be allowed to get and patch nodes, and to get CSINodes.",
    )


@dataclass(frozen=True, slots=True)
class Verification:
    """How what the cache holds is proved again."""

    interval_in_seconds: float = setting(
        0.0,
        Number(0, 366 * 86400),
        "How often each layer in the cache is checked against its digest, in the background, such as 604800 for once a "
        "week; 0 means only when `model-csi verify` asks.",
        live=True,
    )
    max_bytes_per_second: int = setting(
        100_000_000,
        size,
        "Most bytes that a verification reads a second, to leave the disk to pods; 0 means no limit.",
        live=True,
    )


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where credentials come from, beside volumes' own Secrets and the node's docker config."""

    pod_image_pull_secrets: bool = setting(
        False,
        flag,
        "Whether models are also pulled with the pod's imagePullSecrets and those of its service account; the driver "
        "must then be allowed to get pods, serviceaccounts and secrets.",
        live=True,
    )
    image_credential_provider_config: str = setting(
        "",
        optional_path,
        "kubelet's CredentialProviderConfig, a file or a directory of them; empty means no credential providers.",
        live=True,
    )
    image_credential_provider_bin_dir: str = setting(
        "", optional_path, "Directory of the credential providers' programs.", live=True
    )
    credential_helper_dir: str = setting(
        "",
        optional_path,
        "Directory of the docker-credential-… programs that the node's docker config names; empty means PATH.",
        live=True,
    )
    program_timeout_in_seconds: float = setting(
        30.0, Number(0.1, 100), "How long a credential provider or helper may run.", live=True
    )


@dataclass(frozen=True, slots=True)
class Policy:
    """Which models pods may have; see docs/security.md for the form of patterns."""

    allow: tuple[str, ...] = setting(
        (), patterns, "Registries, or repositories in them, that models may come from; empty means all.", live=True
    )
    deny: tuple[str, ...] = setting(
        (),
        patterns,
        "Registries, or repositories in them, that no model may come from, whatever allows it.",
        live=True,
    )
    namespaces: tuple[NamespaceRules, ...] = setting(
        (),
        namespaces,
        "Rules for namespaces, by name or glob: an `allow` that replaces the general one, a `deny` that adds to it.",
        live=True,
    )


@dataclass(frozen=True, slots=True)
class Config:
    """Everything the driver needs to know before it starts."""

    service_name: str = setting(DEFAULT_NAME, text, "Name of the CSI driver, and prefix of its volume attributes.")
    root_dir: Path = setting(Path("/var/lib/model-csi"), path, "Where models are kept; one filesystem.")
    csi_endpoint: str = setting(DEFAULT_ENDPOINT, text, "Unix socket of the CSI services; CSI_ENDPOINT wins.")
    node_id: str = setting("", text, "Name of the node; CSI_NODE_ID wins, and the host's name is the default.")
    metrics_addr: str = setting("", text, "Address of /metrics, such as tcp://$POD_IP:5244; empty means none.")
    trace_endpoint: str = setting(
        "",
        text,
        "OTLP/HTTP collector for OpenTelemetry traces, such as http://collector:4318/v1/traces; empty means none.",
    )
    log_level: str = setting(
        "info", Choice(("debug", "info", "warning", "error")), "Least severe events to log.", live=True
    )
    log_format: str = setting("text", Choice(("text", "json")), "Form of a log line.", live=True)
    noexec: bool = setting(False, flag, "Whether models are mounted noexec; off, as models may contain code to run.")
    prefetch: tuple[PrefetchEntry, ...] = setting(
        (),
        prefetch,
        "Models to pull before any pod asks for them, and to keep: references, or mappings of `reference` and "
        "`exclude_model_weights`, `exclude_file_patterns`, `include_file_patterns` or `layer_roles`.",
        live=True,
    )
    pull_config: PullConfig = field(default_factory=PullConfig)
    features: Features = field(default_factory=Features)
    cache: CacheConfig = field(default_factory=CacheConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    kubernetes: Kubernetes = field(default_factory=Kubernetes)
    verification: Verification = field(default_factory=Verification)
    credentials: Credentials = field(default_factory=Credentials)
    policy: Policy = field(default_factory=Policy)
    ignored: tuple[str, ...] = ()  # settings of the Go driver that were given and have no effect
