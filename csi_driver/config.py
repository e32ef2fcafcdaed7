"""What the operator decided: the configuration file and the environment, read once and checked whole.

The file is YAML and a superset of the Go driver's, so that its ConfigMaps keep working. Every setting is a field below,
with its unit and its reason; an unknown key is refused with the list of known ones.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml

from csi_driver.errors import InvalidRequest

DEFAULT_NAME = "model.csi.modelpack.org"
DEFAULT_ENDPOINT = "unix:///csi/csi.sock"

T = TypeVar("T")
Parser = Callable[[Any], Any]

# Settings of the Go driver that say nothing to this one; they are accepted, and named in the log at start.
IGNORED = frozenset(
    {"external_csi_endpoint", "external_csi_authorization", "dynamic_csi_endpoint", "trace_endpoint", "pprof_addr",
     "pull_config.dragonfly_endpoint", "pull_config.pull_layer_timeout_in_seconds", "features.check_disk_quota"}
)  # fmt: skip


def _setting(default: object, parse: Parser, doc: str) -> Any:
    return field(default=default, metadata={"parse": parse, "doc": doc})


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be text")
    return value.strip()


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _path(value: object) -> Path:
    path = Path(_text(value))
    if not path.is_absolute():
        raise ValueError("must be an absolute path")
    return path


def _number(low: float, high: float) -> Parser:
    def parse(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise ValueError(f"must be a number from {low:g} to {high:g}")
        return float(value)

    return parse


def _count(low: int, high: int, *, zero_means: int | None = None) -> Parser:
    def parse(value: object) -> int:
        if value == 0 and zero_means is not None and not isinstance(value, bool):
            return zero_means
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return value

    return parse


def _choice(*allowed: str) -> Parser:
    def parse(value: object) -> str:
        if value not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return value

    return parse


_UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}


def _size(value: object) -> int:
    """Bytes from a number or from text such as `500GB` or `10TiB` (the Go driver's humanize form)."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = (
        re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgtp]?)(i?)b?", _text(value).lower()) if isinstance(value, str) else None
    )
    if match is None:
        raise ValueError("must be a number of bytes, or a size such as 500GB or 10TiB")
    number, unit, binary = match.groups()
    return int(float(number) * (1024 if binary else 1000) ** _UNITS[unit])


def _hosts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(host, str) and host.strip() for host in value):
        raise ValueError("must be a list of registry hosts, such as [registry.local:5000]")
    return tuple(host.strip().lower() for host in value)


@dataclass(frozen=True, slots=True)
class PullConfig:
    """How models are fetched from registries."""

    docker_config_dir: Path = _setting(
        Path("/root/.docker"),
        _path,
        "Directory of the node's docker config.json; if not set, DOCKER_CONFIG, or .docker in the home directory.",
    )
    proxy_url: str = _setting(
        "", _text, "Proxy for registries; empty means HTTPS_PROXY and HTTP_PROXY of the environment."
    )
    concurrency: int = _setting(
        5, _count(1, 64, zero_means=5), "Layers fetched at once on this node, whatever the number of models."
    )
    plain_http_hosts: tuple[str, ...] = _setting(
        (), _hosts, "Registries (host or host:port) spoken to without TLS. Loopback addresses need not be listed."
    )
    publish_hold_in_seconds: float = _setting(
        110.0,
        _number(1, 3600),
        "Longest time a NodePublishVolume call waits for a pull. kubelet gives up after 120 s; a call that ends just "
        "before wastes none of kubelet's back-off.",
    )
    stall_timeout_in_seconds: float = _setting(
        30.0, _number(1, 3600), "A transfer that brings no byte for so long is given up and asked for again."
    )
    retry_patience_in_seconds: float = _setting(
        60.0, _number(0, 3600), "How long a registry that is down or busy is asked again before the pull fails."
    )
    access_ttl_in_seconds: float = _setting(
        600.0,
        _number(0, 30 * 86400),
        "How long a credential that could read a model counts as able to, without asking the registry again.",
    )


@dataclass(frozen=True, slots=True)
class Features:
    """Switches of the Go driver that keep their names."""

    disk_usage_limit: int = _setting(
        0, _size, "Most bytes the cache may hold, such as 2TiB; 0 means as much as the filesystem has."
    )


@dataclass(frozen=True, slots=True)
class Config:
    """Everything the driver needs to know before it starts."""

    service_name: str = _setting(DEFAULT_NAME, _text, "Name of the CSI driver, and prefix of its volume attributes.")
    root_dir: Path = _setting(Path("/var/lib/model-csi"), _path, "Where models are kept; one filesystem.")
    csi_endpoint: str = _setting(DEFAULT_ENDPOINT, _text, "Unix socket of the CSI services; CSI_ENDPOINT wins.")
    node_id: str = _setting("", _text, "Name of the node; CSI_NODE_ID wins, and the host's name is the default.")
    metrics_addr: str = _setting(
        "", _text, "Where /metrics is served, such as tcp://$POD_IP:5244; empty means nowhere."
    )
    log_level: str = _setting("info", _choice("debug", "info", "warning", "error"), "Least severe events to log.")
    log_format: str = _setting("text", _choice("text", "json"), "Form of a log line.")
    noexec: bool = _setting(
        False, _flag, "Whether models are mounted noexec; off, because models may carry code to run."
    )
    pull_config: PullConfig = field(default_factory=PullConfig)
    features: Features = field(default_factory=Features)
    ignored: tuple[str, ...] = ()  # settings of the Go driver that were given and have no effect


def load(path: Path | None, environ: Mapping[str, str] = os.environ) -> Config:
    """The configuration in `path` (none: the defaults) as the environment completes it; raises `InvalidRequest`."""
    given = _read(path) if path else {}
    ignored = tuple(sorted(_flat(given) & IGNORED))
    settings = _parse(Config, {**given, **_from_environment(environ)}, "")
    pull = cast(PullConfig, settings.pop("pull_config", PullConfig()))
    if "docker_config_dir" not in (given.get("pull_config") or {}):
        pull = PullConfig(**{**_values(pull), "docker_config_dir": _docker_config_dir(environ)})
    settings.setdefault("node_id", os.uname().nodename)
    config = Config(**settings, pull_config=pull, ignored=ignored)
    return _checked(config, environ)


def _read(path: Path) -> dict[str, Any]:
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidRequest(f"configuration {path} cannot be read: {error}") from error
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise InvalidRequest(f"configuration {path} must be a YAML mapping of settings")
    return given


def _from_environment(environ: Mapping[str, str]) -> dict[str, str]:
    mode = environ.get("X_CSI_MODE", "node")
    if mode != "node":
        raise InvalidRequest(f"X_CSI_MODE is {mode!r}: this driver runs on nodes only; set it to node or leave it out")
    names = {"CSI_NODE_ID": "node_id", "CSI_ENDPOINT": "csi_endpoint"}
    return {setting: environ[name] for name, setting in names.items() if environ.get(name)}


def _docker_config_dir(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("DOCKER_CONFIG") or Path(environ.get("HOME") or "/root", ".docker"))


def _flat(given: Mapping[str, Any]) -> set[str]:
    """The dotted names of all settings that were given a value that means something."""
    names: set[str] = set()
    for key, value in given.items():
        names |= {f"{key}.{name}" for name in _flat(value)} if isinstance(value, dict) else set()
        names |= {str(key)} if value else set()
    return names


def _parse(section: type[T], given: object, prefix: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise InvalidRequest(f"setting {prefix.rstrip('.')} must be a mapping of settings")
    known: dict[str, Field[Any]] = {item.name: item for item in fields(cast(Any, section)) if item.name != "ignored"}
    settings: dict[str, Any] = {}
    for key, value in given.items():
        name = f"{prefix}{key}"
        if name in IGNORED or value is None:
            continue
        if key not in known:
            raise InvalidRequest(f"unknown setting {name}; known are {', '.join(sorted(known))}")
        settings[key] = _value(known[key], value, name)
    return settings


def _value(item: Field[Any], value: object, name: str) -> object:
    if item.default_factory is not MISSING and is_dataclass(item.default_factory):
        section = cast(Any, item.default_factory)
        return section(**_parse(section, value, f"{name}."))
    try:
        return cast(Parser, item.metadata["parse"])(value)
    except ValueError as error:
        raise InvalidRequest(f"setting {name} is {value!r}: {error}") from error


def _values(section: Any) -> dict[str, Any]:
    return {item.name: getattr(section, item.name) for item in fields(section)}


def _checked(config: Config, environ: Mapping[str, str]) -> Config:
    # CSI spec, GetPluginInfo: the name is a domain name of at most 63 characters.
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?", config.service_name):
        raise InvalidRequest(
            f"setting service_name is {config.service_name!r}: must be a domain name of at most 63 characters"
        )
    # CSI spec, NodeGetInfo: node_id is at most 256 bytes.
    if not 0 < len(config.node_id.encode()) <= 256:
        raise InvalidRequest(
            f"setting node_id is {config.node_id!r}: must be 1 to 256 bytes; set CSI_NODE_ID to the node's name"
        )
    address = config.metrics_addr.replace("$POD_IP", environ.get("POD_IP") or "0.0.0.0")  # noqa: S104  the operator's own wish
    return Config(**{**_values(config), "metrics_addr": address})
