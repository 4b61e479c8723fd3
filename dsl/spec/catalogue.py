"""A catalogue of every key of the language, collected from the models in `spec`."""

import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, Any, Literal, Union

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from ddspec.dsl.keys.declare import TAGS
from ddspec.dsl.spec.experiment import Spec


@dataclass(frozen=True)
class Key:
    """One key or table: its path, its meaning, and the values that it takes."""

    path: str
    meaning: str
    source: str
    """The paper that the key comes from."""
    type: str
    """Type in words, such as "a whole number"."""
    choices: tuple[str, ...]
    required: bool
    default: Any
    bounds: str
    """Range of a number in words; empty if it has none."""
    pattern_words: str
    """Form of a string in words; empty if it may be any string."""
    is_table: bool
    reading: bool
    """Whether the default is what the paper in `source` says (`declare.key`)."""
    only_with: str = ""
    """Choice of its table that has the key, such as `type = "convex"`; empty if all have it."""

    @property
    def table(self) -> str:
        """Dotted path of the table that the key belongs to."""
        return self.path.rpartition(".")[0]

    @property
    def name(self) -> str:
        """Last part of the path."""
        return self.path.rpartition(".")[2]


@cache
def catalogue() -> dict[str, Key]:
    """Return all keys and tables by dotted path, in the order of the language."""
    return {known.path: known for known in keys_of_model(Spec, "")}


@cache
def keys_by_table() -> dict[str, tuple[Key, ...]]:
    """Return the keys directly in each table."""
    tables: dict[str, tuple[Key, ...]] = {}
    for known in catalogue().values():
        tables[known.table] = (*tables.get(known.table, ()), known)
    return tables


def keys_of(table: str) -> list[str]:
    """Return the names of the keys directly in a table; the empty path is the top level."""
    return [known.name for known in keys_by_table().get(table, ())]


def required_keys_of(table: str) -> list[str]:
    """Return the names of the keys that every choice of a table needs."""
    return [
        known.name
        for known in keys_by_table().get(table, ())
        if known.required and not known.only_with
    ]


def tables_with(name: str) -> list[str]:
    """Return the tables that have a key with this name."""
    return [known.table for known in catalogue().values() if known.name == name]


def tag_of(table: str) -> str:
    """Return the key that selects among the alternatives of a table.

    It is `name` everywhere but in [trajectory], where it is `type`. A string in place of
    the table is its short form: `trajectory = "convex"` means `trajectory.type = "convex"`.
    """
    return TAGS.get(table, "name")


def describe_type(known: Key) -> str:
    """Return the type, choices and range of a key in words."""
    if known.choices:
        quote = "" if known.type == "a number" else '"'
        listed = ", ".join(f"{quote}{choice}{quote}" for choice in known.choices)
        if known.type.startswith("a list"):
            return f"a list of {listed}"
        listed = listed if len(known.choices) == 1 else f"one of {listed}"
        return f"{listed}; or {known.pattern_words}" if known.pattern_words else listed
    return f"{known.type}, {known.bounds}" if known.bounds else known.type


def keys_of_model(model: type[BaseModel], above: str) -> Iterator[Key]:
    """Yield the keys of a table and of its inner tables; alternative tables are merged."""
    for name, field in model.model_fields.items():
        path = f"{above}.{name}" if above else name
        models = [part for part in alternatives(field.annotation) if is_model(part)]
        yield field_entry(path, field)
        seen: set[str] = set()
        for inner in models:
            for known in keys_of_model(inner, path):
                if known.path not in seen:
                    seen.add(known.path)
                    yield merged(known, path, models) if len(models) > 1 else known


def field_entry(path: str, field: FieldInfo) -> Key:
    """Return the catalogue's entry of one field."""
    parts = list(alternatives(field.annotation))
    models = [part for part in parts if is_model(part)]
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    meaning = field.description or (models[0].__doc__ if models else "") or ""
    choices = tuple(
        str(value)
        for part in parts
        if typing.get_origin(part) is Literal
        for value in typing.get_args(part)
    )
    required = field.default is PydanticUndefined and field.default_factory is None
    return Key(
        path=path,
        meaning=" ".join(meaning.split()),
        source=str(extra.get("source", "")),
        type=type_words(field.annotation, parts, bool(models)),
        choices=choices,
        required=required,
        default=None if required else field.default,
        bounds=bounds(field),
        pattern_words=pattern_words(field),
        is_table=bool(models),
        reading=bool(extra.get("reading")),
    )


def pattern_words(field: FieldInfo) -> str:
    """Return the form of a string in words; empty if it may be any string."""
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    return str(extra.get("pattern_words", ""))


def merged(known: Key, table: str, models: list[type[BaseModel]]) -> Key:
    """Return a key below a table with alternatives: the choices of all, and which have it."""
    child, _, deeper = known.path.removeprefix(f"{table}.").partition(".")
    having = [model for model in models if child in model.model_fields]
    choices, only_with, words = known.choices, known.only_with, known.pattern_words
    kind = known.type
    if not deeper:
        entries = [field_entry(known.path, model.model_fields[child]) for model in having]
        kind = " or ".join(dict.fromkeys(found.type for found in entries))
        listed = [choice for model in having for choice in literals(model, child)]
        choices = tuple(dict.fromkeys(listed))
        words = next(filter(None, (pattern_words(m.model_fields[child]) for m in having)), "")
    # A key of an inner alternative says which one; the table above it says the rest.
    if len(having) < len(models) and not only_with:
        tag = tag_of(table)
        tags = [f'"{choice}"' for model in having for choice in literals(model, tag)]
        only_with = f"{tag} = {' or '.join(tags)}" if tags else f"{tag} of an extension"
    return replace(known, type=kind, choices=choices, only_with=only_with, pattern_words=words)


def literals(model: type[BaseModel], name: str) -> list[str]:
    """Return the choices of a key of a table."""
    return [
        str(value)
        for part in alternatives(model.model_fields[name].annotation)
        if typing.get_origin(part) is Literal
        for value in typing.get_args(part)
    ]


def alternatives(annotation: Any) -> Iterator[Any]:
    """Yield the types that an annotation admits, without wrappers, tuples and None."""
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        yield from alternatives(typing.get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for part in typing.get_args(annotation):
            yield from alternatives(part)
    elif origin is tuple:
        yield from alternatives(typing.get_args(annotation)[0])
    elif annotation is not type(None):
        yield annotation


def is_model(part: Any) -> bool:
    """Return whether a type is a table."""
    return isinstance(part, type) and issubclass(part, BaseModel)


def is_list(annotation: Any) -> bool:
    """Return whether an annotation means an array."""
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        return is_list(typing.get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return any(map(is_list, typing.get_args(annotation)))
    return origin is tuple


def type_words(annotation: Any, parts: list[Any], is_table: bool) -> str:
    """Return the type in words."""
    words = {int: "a whole number", float: "a number", str: "a string", bool: "true or false"}
    items = {int: "whole numbers", float: "numbers", str: "strings"}
    if is_table:
        return "tables" if is_list(annotation) else "a table"
    if is_list(annotation):
        return f"a list of {items.get(parts[0], 'names')}"
    if typing.get_origin(parts[0]) is Literal:
        return "a number" if isinstance(typing.get_args(parts[0])[0], int) else "a name"
    return words[parts[0]]


def bounds(field: FieldInfo) -> str:
    """Return the range of a number in words, such as "at least 1 and below 2"."""
    limits = []
    for limit in field.metadata:
        match limit:
            case annotated_types.Ge(ge=value):
                limits.append(f"at least {number_text(value)}")
            case annotated_types.Gt(gt=value):
                limits.append(f"above {number_text(value)}")
            case annotated_types.Le(le=value):
                limits.append(f"at most {number_text(value)}")
            case annotated_types.Lt(lt=value):
                limits.append(f"below {number_text(value)}")
            case _:
                pass
    return " and ".join(limits)


def number_text(value: Any) -> str:
    """Return a limit as text; whole floats up to a million have no fraction."""
    if isinstance(value, float) and value.is_integer() and abs(value) <= 1e6:
        return str(int(value))
    return str(value)
