"""Documents as tables: every field of a pydantic model, its type in JSON, and its meaning."""

import types
import typing
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Annotated, Any, Literal, Union

from pydantic import BaseModel

from ddspec.dsl.document import Document
from ddspec.dsl.spec.catalogue import alternatives, is_model
from ddspec.dsl.spec.experiment import Spec
from docs.generate.markdown import anchor, code, link, table
from docs.generate.prose import docstring_markdown, prose

Model = type[BaseModel]

WORDS: dict[Any, str] = {
    int: "whole number",
    float: "number",
    str: "text",
    bool: "true or false",
    Any: "any value",
    type(None): "null",
}


def sections(top: Model, known: set[Model]) -> Iterator[str]:
    """Yield the sections of a document and of the models in it, but for those that are known.

    The models are added to `known`, so that each has one section on the site. Tables of a spec have
    their own pages.
    """
    waiting = [top]
    while waiting:
        model = waiting.pop(0)
        if model in known or model in spec_tables():
            continue
        known.add(model)
        yield anchor(f"model.{model.__name__}")
        yield f"## {model.__name__}"
        yield docstring_markdown(model.__doc__ or "")
        base = model.__bases__[0]
        inherited = base.model_fields if issubclass(base, Document) else {}
        if inherited:
            yield f"It has the fields of {type_text(base)} and these:"
            waiting.append(base)
        own = {name: f for name, f in model.model_fields.items() if name not in inherited}
        yield table(["field", "type", "meaning"], map(field_row, own.items()))
        waiting += [inner for f in own.values() for inner in models_in(f.annotation)]


def field_row(named: tuple[str, Any]) -> tuple[str, str, str]:
    """Return a field as a row."""
    name, field = named
    return code(name), type_text(field.annotation), prose(field.description or "")


def models_in(annotation: Any) -> Iterator[Model]:
    """Yield the models that a type names, at any depth."""
    if is_model(annotation):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from models_in(argument)


def type_text(annotation: Any) -> str:
    """Return a type in words, as Markdown with links to models."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return type_text(arguments[0])
    if origin is Literal:
        return ", ".join(code(value_text(value)) for value in arguments)
    if origin in (Union, types.UnionType):
        *before, last = map(type_text, arguments)
        return f"{', '.join(before)} or {last}"
    if origin is tuple:
        return f"list of {type_text(arguments[0])}"
    if origin in (dict, Mapping):
        return f"object of {type_text(arguments[1])}"
    if is_model(annotation):
        path = spec_tables().get(annotation)
        target = f"#key.{path}" if path else f"#model.{annotation.__name__}"
        return link(code(f"[{path}]") if path else annotation.__name__, target)
    return WORDS[annotation]


def value_text(value: object) -> str:
    """Return a literal as JSON."""
    return f'"{value}"' if isinstance(value, str) else str(value)


@cache
def spec_tables() -> dict[Model, str]:
    """Return the models of a spec's tables with their dotted path; the first counts."""
    tables: dict[Model, str] = {}
    for path, model in tables_of(Spec, ""):
        tables.setdefault(model, path)
    return tables


def tables_of(model: Model, above: str) -> Iterator[tuple[str, Model]]:
    """Yield path and model of the tables in a table; outer ones come first."""
    for name, field in model.model_fields.items():
        path = f"{above}.{name}" if above else name
        for part in filter(is_model, alternatives(field.annotation)):
            yield path, part
            yield from tables_of(part, path)
