"""The part of the chart's values.schema.json that the driver's settings decide: what may stand under `config`."""

import json
from pathlib import Path
from typing import Any

from csi_driver.config import IGNORED
from csi_driver.config.kinds import Choice, Count, Number
from csi_driver.config.policy import NamespaceRules
from docs.generate.settings import Setting, all_settings

Schema = dict[str, Any]

# What the chart decides: the DaemonSet is built on the first three, and each node has its own name.
OF_THE_CHART = frozenset({"service_name", "root_dir", "csi_endpoint", "node_id"})
# Names of the Go driver's chart, and the chart's own; they are described in the schema itself.
NAMED = ("serviceName", "rootDir", "registryAuths", "registryAuthsSecret", "pullConfig")

_TYPES: dict[Any, str] = {bool: "boolean", int: "integer", float: "number", str: "string"}


def renewed(text: str) -> str:
    """The schema with the driver's settings as they are now."""
    schema: Schema = json.loads(text)
    config = schema["properties"]["config"]
    own = {name: config["properties"][name] for name in NAMED}
    settings = of_settings()
    own["pullConfig"] = {**settings["pull_config"], "type": ["object", "null"]}
    config["properties"] = {**own, **settings}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def of_settings() -> Schema:
    """A schema for every setting that an operator may make, those of the Go driver without effect among them."""
    schemas = {item.name: of_setting(item) for item in all_settings() if item.name not in OF_THE_CHART}
    schemas |= {name: {"description": "Of the Go driver; has no effect."} for name in sorted(IGNORED)}
    tree: Schema = {}
    for name, schema in schemas.items():
        *sections, leaf = name.split(".")
        place = tree
        for section in sections:
            place = place.setdefault(section, section_schema())["properties"]
        place[leaf] = schema
    return tree


def section_schema() -> Schema:
    return {"type": "object", "additionalProperties": False, "properties": {}}


def of_setting(item: Setting) -> Schema:
    """What JSON schema can say of a setting; the driver itself says the rest when it reads it."""
    if item.type is Path:
        return {"$ref": "#/definitions/absolutePath"}
    if item.type == tuple[NamespaceRules, ...]:
        lists = {name: {"type": ["array", "null"]} for name in ("allow", "deny")}
        rules = {**section_schema(), "properties": lists}
        return {"type": "object", "description": item.doc, "additionalProperties": rules}
    kind = _TYPES.get(item.type)
    if isinstance(item.default, tuple):
        kinds = [name for name, empty in (("array", []), ("object", {})) if _takes(item, empty)]
    elif kind == "integer":
        kinds = ["integer", "string"] if _takes(item, "1GiB") else ["integer"]
    else:
        kinds = [kind] if kind else []
    described: Schema = {"type": kinds[0] if len(kinds) == 1 else kinds} if kinds else {}
    return {**described, **_bounds(item.parse), "description": item.doc}


def _bounds(parse: Any) -> Schema:
    """What the driver would refuse at its start, so that Helm does it before any driver is replaced."""
    match parse:
        case Choice(allowed):
            return {"enum": list(allowed)}
        case Number(low, high):
            return {"minimum": low, "maximum": high}
        case Count(low, high, zero_means):
            return {"minimum": low if zero_means is None else 0, "maximum": high}
    return {}


def _takes(item: Setting, value: object) -> bool:
    try:
        item.parse(value)
    except ValueError:
        return False
    return True
