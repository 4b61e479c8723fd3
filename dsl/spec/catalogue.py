"""Every key of the language as a reader looks it up, drawn from the models in `spec`."""

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

from ddspec.dsl.spec.declare import TAGS
from ddspec.dsl.spec.experiment import Spec


@dataclass(frozen=True)
class Key:
    """One key or table: where it belongs and what may stand there."""

    path: str
    meaning: str
    source: str
    type: str
    choices: tuple[str, ...]
    required: bool
    default: Any
    bounds: str
    is_table: bool
    only_with: str = ""
    """Which of several alternative tables have the key; empty where all have it."""

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
    """All keys and tables by dotted path, in the order of the language."""
    return {found.path: found for found in keys_of_model(Spec, "")}


def keys_of(table: str) -> list[str]:
    """Names that may stand directly in a table (the empty path is the top of the file)."""
    return [found.name for found in catalogue().values() if found.table == table]


def tables_with(name: str) -> list[str]:
    """Tables in which a key of that name belongs."""
    return [found.table for found in catalogue().values() if found.name == name]


def tag_of(table: str) -> str:
    """Return the key that selects among the alternatives of a table.

    It is `name` everywhere but in [trajectory], where it is `type`. A text in place of the table
    is short for it: `trajectory = "convex"` means `trajectory.type = "convex"`.
    """
    return TAGS.get(table, "name")


def describe_type(found: Key) -> str:
    """Type, choices and range of a key in words."""
    if found.choices:
        quote = "" if found.type == "a number" else '"'
        listed = ", ".join(f"{quote}{choice}{quote}" for choice in found.choices)
        if found.type == "a list":
            return f"a list of {listed}"
        return listed if len(found.choices) == 1 else f"one of {listed}"
    return f"{found.type}, {found.bounds}" if found.bounds else found.type


def keys_of_model(model: type[BaseModel], above: str) -> Iterator[Key]:
    """The keys of a table, and of the tables in it; alternatives of a table are merged."""
    for name, field in model.model_fields.items():
        path = f"{above}.{name}" if above else name
        parts = list(alternatives(field.annotation))
        models = [part for part in parts if is_model(part)]
        yield entry(path, field, parts, models)
        seen: set[str] = set()
        for inner in models:
            for found in keys_of_model(inner, path):
                if found.path not in seen:
                    seen.add(found.path)
                    yield merged(found, models) if len(models) > 1 else found


def entry(path: str, field: FieldInfo, parts: list[Any], models: list[type[BaseModel]]) -> Key:
    """What the catalogue says of one field."""
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
        is_table=bool(models),
    )


def merged(found: Key, models: list[type[BaseModel]]) -> Key:
    """A key of one of several alternative tables: choices of all, and which of them have it."""
    having = [model for model in models if found.name in model.model_fields]
    choices = [choice for model in having for choice in literals(model, found.name)]
    only_with = ""
    if 0 < len(having) < len(models):
        tag = tag_of(found.path.rpartition(".")[0])
        named = [f'"{choice}"' for model in having for choice in literals(model, tag)]
        only_with = f"{tag} = {' or '.join(named)}"
    return replace(found, choices=tuple(dict.fromkeys(choices)), only_with=only_with)


def literals(model: type[BaseModel], name: str) -> list[str]:
    """The words that a key of a table may be."""
    return [
        str(value)
        for part in alternatives(model.model_fields[name].annotation)
        if typing.get_origin(part) is Literal
        for value in typing.get_args(part)
    ]


def alternatives(annotation: Any) -> Iterator[Any]:
    """The types that an annotation admits, without wrappers, tuples and None."""
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
    """Whether a type is a table."""
    return isinstance(part, type) and issubclass(part, BaseModel)


def is_list(annotation: Any) -> bool:
    """Whether an annotation is of an array."""
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        return is_list(typing.get_args(annotation)[0])
    return origin is tuple


def type_words(annotation: Any, parts: list[Any], is_table: bool) -> str:
    """The type in a user's words."""
    words = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    if is_table:
        return "tables" if is_list(annotation) else "a table"
    if is_list(annotation):
        return "a list"
    if typing.get_origin(parts[0]) is Literal:
        return "a number" if isinstance(typing.get_args(parts[0])[0], int) else "a name"
    return words[parts[0]]


def bounds(field: FieldInfo) -> str:
    """The range of a number in words."""
    said = []
    for limit in field.metadata:
        match limit:
            case annotated_types.Ge(ge=value):
                said.append(f"at least {value}")
            case annotated_types.Gt(gt=value):
                said.append(f"above {value}")
            case annotated_types.Le(le=value):
                said.append(f"at most {value}")
            case annotated_types.Lt(lt=value):
                said.append(f"below {value}")
            case _:
                pass
    return ", ".join(said)
