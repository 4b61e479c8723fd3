"""Diagnostics for the errors that pydantic finds, in the words of the language."""

import difflib
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ddspec.dsl.diagnostics import Diagnostic
from ddspec.dsl.key_path import KeyPath, dotted, without_indices
from ddspec.dsl.parsing.locate import Override, locate
from ddspec.dsl.parsing.public_code_names import ALIASES, UNREAD
from ddspec.dsl.parsing.source import Source
from ddspec.dsl.spec.catalogue import (
    Key,
    catalogue,
    describe_type,
    keys_of,
    required_keys_of,
    tables_with,
)
from ddspec.dsl.table_text import is_number
from ddspec.dsl.terminal_text import MOST_IN_MESSAGE, cut_text
from ddspec.dsl.terms import LANGUAGE
from ddspec.dsl.toml_text import short_text


class ErrorKind(StrEnum):
    """Types of pydantic errors, named after the mistake in the spec."""

    UNKNOWN_KEY = "extra_forbidden"
    MISSING_KEY = "missing"
    MISSING_TAG = "union_tag_not_found"
    UNKNOWN_TAG = "union_tag_invalid"
    UNKNOWN_NAME = "literal_error"
    PATTERN = "string_pattern_mismatch"
    EMPTY_STRING = "string_too_short"
    LONG_STRING = "string_too_long"
    SHORT_LIST = "too_short"
    ABOVE = "greater_than"
    AT_LEAST = "greater_than_equal"
    BELOW = "less_than"
    AT_MOST = "less_than_equal"
    FINITE = "finite_number"
    NO_SCALAR = "no_scalar"
    """Raised by the model of an extension's keys."""


MOST_FINDINGS = 100
"""Most pydantic errors that are reported; nobody reads more at once."""


def validation_diagnostics(
    error: ValidationError,
    values: Mapping[str, Any],
    source: Source,
    overrides: Sequence[Override] = (),
) -> list[Diagnostic]:
    """Return a diagnostic with its location for every error of pydantic.

    A missing key is left out if an unknown key of its table looks like a misspelling of it.
    """
    details = error.errors(include_url=False)[:MOST_FINDINGS]
    unknown = {
        document_path(detail, values)
        for detail in details
        if detail["type"] == ErrorKind.UNKNOWN_KEY
    }
    misnamed = {
        document_path(detail, values)
        for detail in details
        if detail["type"] == ErrorKind.UNKNOWN_NAME
    }
    diagnostics: dict[Diagnostic, None] = {}
    for detail in details:
        kind, path = detail["type"], document_path(detail, values)
        # A name may also follow a pattern; that it does not is the same mistake.
        if path in misnamed and kind != ErrorKind.UNKNOWN_NAME:
            continue
        if kind == ErrorKind.MISSING_KEY and is_misspelt(path, unknown):
            continue
        # pydantic does not count invalid items, so a list with some seems too short.
        if kind == ErrorKind.SHORT_LIST and has_invalid_item(detail, details):
            continue
        if kind == ErrorKind.UNKNOWN_TAG and isinstance(value_at(values, path), Mapping):
            path = (*path, discriminator(detail))
        diagnostic = diagnose(detail, path, declared_key(detail, path))
        at_key = kind == ErrorKind.UNKNOWN_KEY
        diagnostics[locate(diagnostic, path, source, overrides, at_key=at_key)] = None
    return list(diagnostics)


def has_invalid_item(detail: ErrorDetails, details: Sequence[ErrorDetails]) -> bool:
    """Return whether another error is about an item of the list that `detail` is about."""
    location = detail["loc"]
    return any(
        other["loc"][: len(location)] == location and other is not detail for other in details
    )


def discriminator(detail: ErrorDetails) -> str:
    """Return the key that chooses between alternative tables; pydantic quotes it."""
    return str(detail["ctx"]["discriminator"]).strip("'")


def value_at(values: Any, path: KeyPath) -> Any:
    """Return the value at a path that exists in the document."""
    for part in path:
        values = values[part]
    return values


def document_path(detail: ErrorDetails, values: Mapping[str, Any]) -> KeyPath:
    """Return the path of an error in the document.

    pydantic's own path also has the tags of alternative tables, which the document does
    not have.
    """
    value: Any = values
    path: KeyPath = ()
    parts = detail["loc"]
    for position, part in enumerate(parts):
        is_last = position == len(parts) - 1
        in_table = isinstance(value, Mapping) and part in value
        if in_table or (isinstance(value, list) and isinstance(part, int) and part < len(value)):
            value = value[part]
            path = (*path, part)
        elif is_last and detail["type"] == ErrorKind.MISSING_KEY:
            path = (*path, part)
    return path


def is_misspelt(path: KeyPath, unknown: set[KeyPath]) -> bool:
    """Return whether an unknown key of the same table resembles a missing key.

    A key of another choice of the table is not a misspelling, even if it resembles that key.
    """
    neighbours = [
        str(other[-1])
        for other in unknown
        if other and other[:-1] == path[:-1] and without_indices(other) not in catalogue()
    ]
    return bool(difflib.get_close_matches(str(path[-1]), neighbours, cutoff=0.6))


def diagnose(detail: ErrorDetails, path: KeyPath, known: Key | None) -> Diagnostic:
    """Return the diagnostic of one pydantic error, without its location.

    `known` is the entry of its key in the catalogue, if it has one.
    """
    key, given = dotted(path), detail["input"]
    context = detail.get("ctx", {})
    match detail["type"]:
        case ErrorKind.UNKNOWN_KEY:
            return unknown_key(path)
        case ErrorKind.MISSING_KEY:
            return missing_key(path, known)
        case ErrorKind.MISSING_TAG:
            return missing_tag((*path, discriminator(detail)), given)
        case ErrorKind.UNKNOWN_TAG:
            choices = [tag.strip("'") for tag in str(context["expected_tags"]).split(", ")]
            tag = given.get(discriminator(detail)) if isinstance(given, Mapping) else given
            if not isinstance(tag, str):
                return wrong_type(key, tag, "a name, one of " + ", ".join(choices))
            return unknown_name(key, tag, choices)
        case ErrorKind.UNKNOWN_NAME if path == ("ddspec",):
            return unknown_version(key, given)
        case ErrorKind.UNKNOWN_NAME if known is not None and known.choices:
            return unknown_name(key, given, known.choices, known.pattern_words)
        case ErrorKind.PATTERN:
            problem = f"{short_text(given)} does not have the required form"
            hint = f"must be {known.pattern_words}" if known else ""
            return Diagnostic("out-of-range", key, problem, hint)
        case (
            ErrorKind.ABOVE
            | ErrorKind.AT_LEAST
            | ErrorKind.BELOW
            | ErrorKind.AT_MOST
            | ErrorKind.FINITE
        ):
            bounds = known.bounds if known and known.bounds else "a finite number"
            problem = f"{short_text(given)} is out of range"
            return Diagnostic("out-of-range", key, problem, f"must be {bounds}")
        case ErrorKind.EMPTY_STRING | ErrorKind.LONG_STRING | ErrorKind.SHORT_LIST:
            return wrong_length(key, given, context)
        case ErrorKind.NO_SCALAR:
            return wrong_type(key, given, "true, false, a finite number or a string")
        case _:
            return wrong_type(key, given, describe_type(known) if known else "of another type")


def declared_key(detail: ErrorDetails, path: KeyPath) -> Key | None:
    """Return the catalogue's entry of the key that an error is about, if it has one."""
    known = catalogue().get(without_indices(path))
    of_name = detail["type"] in (ErrorKind.UNKNOWN_NAME, ErrorKind.PATTERN)
    if known is not None and known.is_table and of_name:
        # The name alone is short for the table, as in `optimizer = "sgd"`.
        return catalogue().get(f"{known.path}.{detail['loc'][-1]}")
    return known


def unknown_version(key: str, given: Any) -> Diagnostic:
    """Return the diagnostic of a spec for another version of the language."""
    return Diagnostic(
        "unknown-version",
        key,
        f"this ddspec reads version {LANGUAGE} of the language, not {short_text(given)}",
        hint=f"write ddspec = {LANGUAGE}, or install the ddspec that the spec was written for",
    )


def wrong_length(key: str, given: Any, context: Mapping[str, Any]) -> Diagnostic:
    """Return the diagnostic of a string or list that is too short or too long.

    `context` has pydantic's limit: `min_length` or `max_length`.
    """
    kind, item = ("string", "character") if isinstance(given, str) else ("list", "value")
    problem = f"the {kind} has {counted(len(given), item)}" if given else f"the {kind} is empty"
    if "max_length" in context:
        hint = f"use at most {counted(context['max_length'], item)}"
    else:
        hint = f"write at least {counted(context['min_length'], item)}"
    return Diagnostic("out-of-range", key, problem, hint)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun in the singular or plural."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def wrong_type(key: str, given: Any, expected: str) -> Diagnostic:
    """Return the diagnostic of a value of the wrong type."""
    name = key.rpartition(".")[2]
    required = required_keys_of(key)
    hint = f"must be {expected}"
    is_array_of_tables = isinstance(given, list) and any(isinstance(i, dict) for i in given)
    if expected == "a table" and is_array_of_tables:
        hint = f"write [{key}] once, with single brackets"
    elif expected == "a table" and isinstance(given, bool) and not required:
        hint = f"write {name} = {{}} for a table with default values, or remove the key"
    elif expected == "a table" and keys_of(key):
        optional = next((k for k in keys_of(key) if k not in ("name", "type")), keys_of(key)[0])
        inner = ", ".join(f"{k} = ..." for k in required or [optional])
        hint += f", such as {name} = {{ {inner} }}"
    elif expected == "tables":
        hint = f"write [[{key}]], with double brackets"
    elif isinstance(given, str) and "number" in expected:
        # Without a number in it, leaving the quotes away helps nobody.
        hint += "; write numbers without quotes" if is_number(given) else ""
    elif isinstance(given, float) and given.is_integer() and "whole number" in expected:
        hint += f"; write {given:.0f}"
    return Diagnostic("wrong-type", key, f"{short_text(given)} is {toml_type(given)}", hint)


def missing_tag(path: KeyPath, given: Any) -> Diagnostic:
    """Return the diagnostic of a table that does not say which alternative it is.

    `path` is that of the key that chooses, which is `name` or `type`.
    """
    tag = str(path[-1])
    if not isinstance(given, Mapping):
        return wrong_type(dotted(path[:-1]), given, "a name or a table")
    similar = difflib.get_close_matches(tag, map(str, given), n=1)
    if similar:
        return unknown_key((*path[:-1], similar[0]))
    return missing_key(path, catalogue().get(without_indices(path)))


def missing_key(path: KeyPath, known: Key | None) -> Diagnostic:
    """Return the diagnostic of a key that is missing and has no default."""
    key = dotted(path)
    if known is not None and known.is_table:
        required = " and ".join(f"{name} = ..." for name in required_keys_of(key))
        hint = f"add [{key}]{f' with {required}' if required else ''}"
        return Diagnostic("missing-key", key, "this table is missing", hint=hint)
    table = without_indices(path[:-1])
    in_array = len(path) > 1 and isinstance(path[-2], int)
    header = f"[[{table}]]" if in_array else f"[{table}]"
    expected = f" ({describe_type(known)})" if known else ""
    meaning = f": {known.meaning}" if known and known.meaning else ""
    return Diagnostic(
        "missing-key",
        key,
        "this key is missing and has no default",
        hint=f"add `{path[-1]}` {f'to {header}' if table else 'at the top of the file'}"
        f"{expected}{meaning}",
    )


def unknown_name(key: str, given: Any, choices: Sequence[str], others: str = "") -> Diagnostic:
    """Return the diagnostic of a name that is not one of the choices.

    `others` are further names in words, which follow a pattern.
    """
    by_small_letters = {choice.lower(): choice for choice in choices}
    near = difflib.get_close_matches(str(given).lower(), by_small_letters, n=1, cutoff=0.5)
    similar = [by_small_letters[small] for small in near]
    listed = ", ".join(f'"{choice}"' for choice in choices) + (f"; or {others}" if others else "")
    suggested = f'did you mean "{similar[0]}"? ' if similar else ""
    problem = f"{short_text(given)} is not one of the choices"
    return Diagnostic("unknown-name", key, problem, hint=f"{suggested}choices: {listed}")


@lru_cache(maxsize=1024)  # Runs of a sweep repeat it.
def unknown_key(path: KeyPath) -> Diagnostic:
    """Return the diagnostic of a key that its table does not have.

    The key may have another name here, belong to another table or to another choice of
    its table, be misspelt, or not exist at all.
    """
    table, name = without_indices(path[:-1]), str(path[-1])
    header = table_words(table)
    owners = tables_with(name)
    if ALIASES.get(name) in catalogue() and table not in owners:
        problem = f"this key is called `{ALIASES[name]}` here"
        return Diagnostic("renamed-key", dotted(path), problem, hint=example(ALIASES[name]))
    if name in UNREAD:
        problem = f"the public code accepts `{name}` but never reads it"
        hint = f"its authors probably meant `{UNREAD[name]}`: {example(UNREAD[name])}"
        return Diagnostic("renamed-key", dotted(path), problem, hint)
    if table not in owners and difflib.get_close_matches(name, keys_of(table), cutoff=0.85):
        owners = []  # More likely a misspelt key of this table than a key of another one.
    if table in owners:
        needed = catalogue()[without_indices(path)].only_with
        problem = f"{header} has `{name}` only with {needed}"
        return Diagnostic("misplaced-key", dotted(path), problem, f"remove it, or choose {needed}")
    problem = f"{header} has no key `{cut_text(name, MOST_IN_MESSAGE)}`"
    if owners:
        inner = [owner for owner in owners if owner.startswith(f"{table}.") and table]
        listed = " or ".join(map(table_words, inner or owners))
        return Diagnostic("misplaced-key", dotted(path), problem, f"this key belongs in {listed}")
    return Diagnostic("unknown-key", dotted(path), problem, hint=suggestion(table, name))


def table_words(table: str) -> str:
    """Return how messages call a table; the empty path is the top level."""
    return f"[{cut_text(table, MOST_IN_MESSAGE)}]" if table else "the top level of the file"


def suggestion(table: str, name: str) -> str:
    """Return the hint for an unknown key: a similar key, or else all keys of the table."""
    similar = difflib.get_close_matches(name, keys_of(table), n=1, cutoff=0.6)
    if similar:
        return f"did you mean `{similar[0]}`?"
    paths = {known.name: known.path for known in catalogue().values()}
    similar = difflib.get_close_matches(name, paths, n=1, cutoff=0.75)
    if similar:
        return f"did you mean `{paths[similar[0]]}`?"
    if not keys_of(table):
        return "remove it: this table does not exist"
    return "its keys are " + ", ".join(keys_of(table))


def example(path: str) -> str:
    """Return how to write a key; a table within another one is written inline."""
    table, _, name = path.rpartition(".")
    if "." in table:
        outer, _, inner = table.rpartition(".")
        return f"write {inner} = {{ {name} = ... }} in [{outer}]"
    return f"write {name} = ... in [{table}]"


def toml_type(given: Any) -> str:
    """Return the type of a TOML value in words."""
    match given:
        case bool():
            return "a boolean"
        case int():
            return "a whole number"
        case float():
            return "a decimal number"
        case str():
            return "a string"
        case list() | tuple():
            return "a list"
        case Mapping():
            return "a table"
        case _:
            return "a date or time"
