"""The JSON Schema of the language, for completion and checks in editors."""

from typing import Any

from ddspec.dsl.parsing.sweep import CASE_AFTER, CASE_NAME, CASES, SWEEP, TOGETHER
from ddspec.dsl.reference.error_codes import CODES
from ddspec.dsl.spec.experiment import Spec


def json_schema() -> dict[str, Any]:
    """Return the schema (draft 2020-12). A spec names it as `#:schema ./schema.json`."""
    schema = Spec.model_json_schema(mode="validation")
    cleaned: dict[str, Any] = clean(schema, schema["$defs"])
    cleaned["properties"][SWEEP] = sweep_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **cleaned}


def sweep_schema() -> dict[str, Any]:
    """Return the schema of `[sweep]`, whose keys are the dotted paths of other keys."""
    values = {"type": "array", "minItems": 1}
    case = {
        "type": "object",
        "required": [CASE_NAME],
        "properties": {CASE_NAME: {"type": "string"}, CASE_AFTER: {"type": "string"}},
    }
    group = {"type": "object", "additionalProperties": values}
    return {
        "type": "object",
        "description": " ".join(CODES["bad-sweep"].split()),
        "properties": {
            TOGETHER: {"type": "array", "items": group},
            CASES: {"type": "array", "items": case},
        },
        "additionalProperties": values,
    }


def clean(node: Any, tables: dict[str, Any]) -> Any:
    """Remove null (TOML has none) and generated titles, and add the short forms."""
    if isinstance(node, list):
        return [clean(item, tables) for item in node]
    if not isinstance(node, dict):
        return node
    options = node.get("anyOf")
    if isinstance(options, list):
        kept = [option for option in options if option != {"type": "null"}]
        if len(kept) == 1:
            node = {**{k: v for k, v in node.items() if k != "anyOf"}, **kept[0]}
    cleaned = {}
    for name, value in node.items():
        if name == "title" and isinstance(value, str) and "properties" not in node:
            continue
        if name == "default" and value is None:
            continue
        cleaned[name] = clean(value, tables)
    if "discriminator" in cleaned and "oneOf" in cleaned:
        return with_short_form(cleaned, tables)
    if "oneOf" in cleaned:
        return with_extensions(cleaned, tables)
    return cleaned


def with_extensions(node: dict[str, Any], tables: dict[str, Any]) -> dict[str, Any]:
    """Allow the parts of a union with those of extensions to be written as their names alone."""
    short = []
    for option in node["oneOf"]:
        table = tables.get(str(option.get("$ref", "")).rpartition("/")[2], {})
        required = table.get("required", ())
        name = table["properties"][required[0]] if len(required) == 1 else {}
        short += [{"type": "string", key: name[key]} for key in ("const", "pattern") if key in name]
    return {**node, "oneOf": [*node["oneOf"], *short]}


def with_short_form(node: dict[str, Any], tables: dict[str, Any]) -> dict[str, Any]:
    """Allow a choice to be written as its name alone, if it needs no other key."""
    discriminator = node.pop("discriminator")
    tag = discriminator["propertyName"]
    names = [
        name
        for name, reference in discriminator["mapping"].items()
        if set(tables[reference.rpartition("/")[2]].get("required", ())) <= {tag}
    ]
    return {**node, "oneOf": [*node["oneOf"], {"type": "string", "enum": names}]}
