"""The options that several commands share, so that they read alike everywhere."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from csi_driver.config import DEFAULT_ENDPOINT
from csi_driver.config.kinds import size
from csi_driver.errors import InvalidRequest
from csi_driver.oci.reference import Reference
from csi_driver.oci.selection import ROLES

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(slots=True)
class Invocation:
    """What was said about the surroundings, before or after the command's name; the latter wins."""

    endpoint: str = DEFAULT_ENDPOINT
    docker_config: Path = Path("~/.docker")
    hosts_dir: Path | None = None


def _note(field: str, convert: Callable[[str], object]) -> Callable[[click.Context, click.Parameter, Any], None]:
    def note(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
        source = ctx.get_parameter_source(parameter.name or "")
        is_first = ctx.parent is None  # the environment is read there, and must not beat what was said on the way
        if value is not None and (is_first or source is not ParameterSource.ENVIRONMENT):
            setattr(ctx.ensure_object(Invocation), field, convert(value))

    return note


def _directory(text: str) -> Path:
    return Path(text).expanduser()


def endpoint_option(command: F) -> F:
    """--endpoint: where the driver listens."""
    return click.option(
        "--endpoint",
        metavar="URL",
        envvar="CSI_ENDPOINT",
        expose_value=False,
        callback=_note("endpoint", str),
        help=f"Socket of the driver on this node, or $CSI_ENDPOINT.  [default: {DEFAULT_ENDPOINT}]",
    )(command)


def docker_config_option(command: F) -> F:
    """--docker-config: credentials for registries."""
    return click.option(
        "--docker-config",
        metavar="DIR",
        envvar="DOCKER_CONFIG",
        expose_value=False,
        callback=_note("docker_config", _directory),
        help="Directory of the config.json with credentials for push and inspect, or $DOCKER_CONFIG."
        "  [default: ~/.docker]",
    )(command)


def hosts_dir_option(command: F) -> F:
    """--hosts-dir: mirrors and certificates of registries."""
    return click.option(
        "--hosts-dir",
        metavar="DIR",
        envvar="MODEL_CSI_HOSTS_DIR",
        expose_value=False,
        callback=_note("hosts_dir", _directory),
        help="Directory of containerd's hosts.toml files for push and inspect, or $MODEL_CSI_HOSTS_DIR.",
    )(command)


def secret_option(command: F) -> F:
    """--secret: credentials as a pod would bring them."""
    return click.option(
        "--secret",
        metavar="FILE",
        type=click.File("rb"),
        help="Credentials for the registry: a docker config.json, a Kubernetes Secret (YAML or JSON), or a mapping "
        "of username and password; - reads standard input.",
    )(command)


def selection_options(command: F) -> F:
    """--exclude-model-weights, --exclude-file-pattern, --include-file-pattern, --layer-role: a part of a model."""
    for option in (
        click.option(
            "--layer-role",
            "roles",
            type=click.Choice(list(ROLES)),
            multiple=True,
            help="Take only files of this role; may be repeated.",
        ),
        click.option(
            "--include-file-pattern",
            "included",
            metavar="PATTERN",
            multiple=True,
            help="Take only files that match this gitignore pattern; may be repeated, and ! negates.",
        ),
        click.option(
            "--exclude-file-pattern",
            "excluded",
            metavar="PATTERN",
            multiple=True,
            help="Leave out files that match this gitignore pattern; may be repeated, and ! negates.",
        ),
        click.option("--exclude-model-weights", is_flag=True, help="Leave out the weights."),
    ):
        command = option(command)
    return command


def plain_http_option(command: F) -> F:
    """--plain-http: registries without TLS."""
    return click.option(
        "--plain-http",
        metavar="HOST[:PORT]",
        multiple=True,
        help="Use plain HTTP for this registry; may be repeated. Not needed for loopback addresses.",
    )(command)


def output_option(command: F) -> F:
    """--output: for people or for scripts."""
    return click.option(
        "--output",
        "-o",
        type=click.Choice(["table", "json"]),
        default="table",
        show_default=True,
        help="Form of the result on standard output.",
    )(command)


def timeout_option(command: F) -> F:
    """--timeout: how long to be patient."""
    return click.option(
        "--timeout",
        metavar="SECONDS",
        type=click.FloatRange(min=0, min_open=True),
        help="Give up after this long, with exit code 5.  [default: never]",
    )(command)


def size_option(name: str, text: str) -> Callable[[F], F]:
    """An option that takes a number of bytes, or a size such as 500MB; its value is None where it is not given."""

    def parse(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
        if value is None:
            return None
        try:
            return size(int(value) if value.isdecimal() else value)
        except ValueError as error:
            raise InvalidRequest(f"{name} is {value!r}: {error}") from error

    return click.option(name, metavar="SIZE", callback=parse, help=text)


def reference_argument(command: F) -> F:
    """REFERENCE: a model in a registry."""
    return click.argument("reference", type=Reference.parse)(command)


def attributes(pairs: tuple[str, ...]) -> dict[str, str]:
    """Volume attributes from `key=value` texts; raises `InvalidRequest`."""
    given: dict[str, str] = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator or not key:
            raise InvalidRequest(f"attribute {json.dumps(pair)} is not of the form key=value")
        if key in given:
            raise InvalidRequest(f"attribute {json.dumps(key)} is given twice")
        given[key] = value
    return given
