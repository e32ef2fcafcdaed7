"""The configuration file and the environment become one `Config`, checked whole.

The file is YAML and a superset of the Go driver's, so that its ConfigMaps keep working. An unknown key is refused with
the list of known ones.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml

from csi_driver.config.kinds import Parser
from csi_driver.config.settings import IGNORED, Config, PullConfig
from csi_driver.errors import InvalidRequest

T = TypeVar("T")


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
    high, low = config.cache.high_water, config.cache.low_water
    if (high.percent is None) != (low.percent is None) or low.of(100) > high.of(100):
        raise InvalidRequest(
            f"setting cache.low_water is {low} and cache.high_water {high}: both must be shares or both sizes, and the "
            "low one not above the high one"
        )
    address = config.metrics_addr.replace("$POD_IP", environ.get("POD_IP") or "0.0.0.0")  # noqa: S104  the operator's own wish
    return Config(**{**_values(config), "metrics_addr": address})
