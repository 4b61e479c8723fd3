"""What pydantic finds in a document, said as diagnostics in the language's own words."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ddspec.dsl.diagnostics import Diagnostic
from ddspec.dsl.key_path import KeyPath, dotted, without_indices
from ddspec.dsl.parsing.source import Source
from ddspec.dsl.spec.catalogue import Key, catalogue, describe_type, keys_of, tables_with
from ddspec.dsl.spec.public_code_names import ALIASES, UNREAD
from ddspec.dsl.spec.toml_text import short_text


@dataclass(frozen=True)
class Override:
    """A key set on the command line, with the option as the user wrote it."""

    path: KeyPath
    option: str
    place: KeyPath | None = None
    """Where its value stands in the file, if a sweep set it."""


def validation_diagnostics(
    error: ValidationError,
    values: Mapping[str, Any],
    source: Source,
    overrides: Sequence[Override] = (),
) -> list[Diagnostic]:
    """All findings with their places; a missing key whose misspelling is there is left out."""
    details = error.errors(include_url=False)[:MOST_FINDINGS]
    unknown = {in_document(found, values) for found in details if found["type"] == UNKNOWN}
    found: dict[Diagnostic, None] = {}
    for detail in details:
        path = in_document(detail, values)
        if detail["type"] == MISSING and misspelt(path, unknown):
            continue
        if detail["type"] == "too_short" and any(
            other["loc"][: len(detail["loc"])] == detail["loc"] and other is not detail
            for other in details
        ):
            continue  # Items that are at fault themselves are missing from the list.
        tag = str(detail.get("ctx", {}).get("discriminator", "")).strip("'")
        if detail["type"] == "union_tag_invalid" and isinstance(given_value(values, path), Mapping):
            path = (*path, tag)
        said = diagnose(detail, path)
        place = locate(said, path, source, overrides, at_key=detail["type"] == UNKNOWN)
        found[place] = None
    return list(found)


MOST_FINDINGS = 100
"""More are not read by anybody at once."""


def given_value(values: Any, path: KeyPath) -> Any:
    """What the document has at a path that lies in it."""
    for part in path:
        values = values[part]
    return values


UNKNOWN = "extra_forbidden"
MISSING = "missing"


def in_document(detail: ErrorDetails, values: Mapping[str, Any]) -> KeyPath:
    """KeyPath of a finding in the document: pydantic's, without the tags of table alternatives."""
    here: Any = values
    path: KeyPath = ()
    parts = detail["loc"]
    for position, part in enumerate(parts):
        is_last = position == len(parts) - 1
        in_table = isinstance(here, Mapping) and part in here
        if in_table or (isinstance(here, list) and isinstance(part, int) and part < len(here)):
            here = here[part]
            path = (*path, part)
        elif is_last and detail["type"] == MISSING:
            path = (*path, part)
    return path


def misspelt(path: KeyPath, unknown: set[KeyPath]) -> bool:
    """Whether an unknown key of the same table is near enough to be the missing one."""
    neighbours = [str(other[-1]) for other in unknown if other[:-1] == path[:-1] and other]
    return bool(difflib.get_close_matches(str(path[-1]), neighbours, cutoff=0.6))


def diagnose(detail: ErrorDetails, path: KeyPath) -> Diagnostic:
    """One finding in our words."""
    known = catalogue().get(without_indices(path))
    if known is not None and known.is_table and detail["type"] == "literal_error":
        # The name alone stands for the table: `optimizer = "sgd"`.
        known = catalogue().get(f"{known.path}.{detail['loc'][-1]}")
    context = detail.get("ctx", {})
    given = short_text(detail["input"])
    key = dotted(path)
    kind = detail["type"]
    if kind == UNKNOWN:
        return unknown_key(path)
    if kind == MISSING or kind == "union_tag_not_found":
        if kind == "union_tag_not_found":
            tag = str(context["discriminator"]).strip("'")
            path = (*path, tag)
            known = catalogue().get(without_indices(path))
            if not isinstance(detail["input"], Mapping):
                return wrong_type(key, detail["input"], "a name or a table")
            near = difflib.get_close_matches(tag, map(str, detail["input"]), n=1)
            if near:
                return unknown_key((*path[:-1], near[0]))
        return missing_key(path, known)
    if kind == "union_tag_invalid":
        choices = [tag.strip("'") for tag in str(context["expected_tags"]).split(", ")]
        return unknown_name(key, str(context["tag"]), choices)
    if kind == "literal_error" and known is not None and known.choices:
        if path == ("ddspec",):
            return Diagnostic(
                "unknown-version",
                key,
                f"{given} is not a version of the language that this ddspec knows",
                hint="write ddspec = 1, or install the ddspec that this spec was written for",
            )
        return unknown_name(key, detail["input"], known.choices)
    if kind == "string_pattern_mismatch":
        return Diagnostic(
            "out-of-range",
            key,
            f"{given} holds characters that a name may not have",
            hint="32 hexadecimal digits, as ddspec import prints them"
            if path[-1:] == ("imported",)
            else "letters, digits, dot, dash and underscore, beginning with a letter or digit",
        )
    if kind in RANGE_ERRORS:
        limits = known.bounds if known is not None and known.bounds else detail["msg"].lower()
        return Diagnostic("out-of-range", key, f"{given} is out of range", hint=f"must be {limits}")
    if kind in LENGTH_ERRORS:
        problem = "nothing stands here" if kind.endswith("short") else f"{given} is too long"
        return Diagnostic("out-of-range", key, problem, hint=LENGTH_ERRORS[kind])
    return wrong_type(key, detail["input"], describe_type(known) if known else "another type")


RANGE_ERRORS = {
    "greater_than",
    "greater_than_equal",
    "less_than",
    "less_than_equal",
    "finite_number",
}
LENGTH_ERRORS = {
    "string_too_short": "write at least one character",
    "string_too_long": "shorten it",
    "too_short": "name at least one",
    "too_long": "shorten the list",
}


def wrong_type(key: str, given: Any, wanted: str) -> Diagnostic:
    """A value of the wrong type."""
    hint = f"expected {wanted}"
    if wanted == "a table" and isinstance(given, list):
        hint = f"write [{key}] once, with single brackets"
    elif wanted == "a table" and isinstance(given, bool):
        hint = (
            f"write {key.rpartition('.')[2]} = {{}} for a table at its defaults, or remove the key"
        )
    elif wanted == "a table" and keys_of(key):
        example = next((k for k in keys_of(key) if k not in ("name", "type")), keys_of(key)[0])
        hint += f", such as {key.rpartition('.')[2]} = {{ {example} = ... }}"
    elif wanted == "tables":
        hint = f"write [[{key}]], with double brackets"
    elif isinstance(given, str) and "number" in wanted:
        hint += "; numbers stand without quotes"
    return Diagnostic("wrong-type", key, f"{short_text(given)} is {type_of(given)}", hint=hint)


def missing_key(path: KeyPath, known: Key | None) -> Diagnostic:
    """A key that has no default and is not there."""
    wanted = f" ({describe_type(known)})" if known else ""
    meaning = f": {known.meaning}" if known and known.meaning else ""
    table = dotted(path[:-1])
    where = f"in [{table}]" if table else "at the top of the file"
    if known is not None and known.is_table:
        return Diagnostic(
            "missing-key", dotted(path), "this table is missing", hint=f"add [{dotted(path)}]"
        )
    return Diagnostic(
        "missing-key",
        dotted(path),
        "this key is missing and has no default",
        hint=f"add `{path[-1]}` {where}{wanted}{meaning}",
    )


def unknown_name(key: str, given: Any, choices: Sequence[str]) -> Diagnostic:
    """A name that is none of the choices."""
    near = difflib.get_close_matches(str(given), choices, n=1, cutoff=0.5)
    listed = ", ".join(f'"{choice}"' for choice in choices)
    hint = f'did you mean "{near[0]}"? ' if near else ""
    return Diagnostic(
        "unknown-name",
        key,
        f"{short_text(given)} is not known here",
        hint=f"{hint}choices: {listed}",
    )


def unknown_key(path: KeyPath) -> Diagnostic:
    """A key that nothing reads: renamed, misplaced, misspelt, or not part of this version."""
    table, name = without_indices(path[:-1]), str(path[-1])
    here = f"[{table}]" if table else "the top of the file"
    known = [path for path in catalogue() if path == ALIASES.get(name)]
    if known:
        return Diagnostic(
            "renamed-key", dotted(path), f"`{name}` is `{known[0]}` here", hint=example(known[0])
        )
    if name in UNREAD:
        return Diagnostic(
            "renamed-key",
            dotted(path),
            f"the public code accepts `{name}` and never reads it",
            hint=f"{UNREAD[name]} is what it seems to say; {example(UNREAD[name])}",
        )
    elsewhere = tables_with(name)
    if table not in elsewhere and difflib.get_close_matches(name, keys_of(table), cutoff=0.85):
        elsewhere = []  # A slip in the name of a key that belongs here is likelier.
    if table in elsewhere:
        return Diagnostic(
            "misplaced-key",
            dotted(path),
            f"`{name}` has no meaning with this choice of {here}",
            hint=f"remove it, or choose {catalogue()[without_indices(path)].only_with}",
        )
    if elsewhere:
        below = [owner for owner in elsewhere if owner.startswith(f"{table}.") and table]
        owners = [f"[{owner}]" if owner else "the top of the file" for owner in below or elsewhere]
        place = " or ".join(owners)
        return Diagnostic(
            "misplaced-key",
            dotted(path),
            f"{here} has no key `{name}`",
            hint=f"this key belongs in {place}",
        )
    return Diagnostic(
        "unknown-key", dotted(path), f"{here} has no key `{name}`", hint=suggestion(table, name)
    )


def suggestion(table: str, name: str) -> str:
    """The nearest key of the table, else of the language, else what the table has."""
    near = difflib.get_close_matches(name, keys_of(table), n=1, cutoff=0.6)
    if near:
        return f"did you mean `{near[0]}`?"
    everywhere = {found.name: found.path for found in catalogue().values()}
    near = difflib.get_close_matches(name, everywhere, n=1, cutoff=0.75)
    if near:
        return f"did you mean `{everywhere[near[0]]}`?"
    if not keys_of(table):
        return "nothing may stand here"
    return "keys here: " + ", ".join(keys_of(table))


def example(path: str) -> str:
    """How to write a key, as inline table where its table is one."""
    table, _, name = path.rpartition(".")
    if "." in table:
        outer, _, inner = table.rpartition(".")
        return f"in [{outer}]: {inner} = {{ {name} = ... }}"
    return f"in [{table}]: {name} = ..."


def type_of(given: Any) -> str:
    """The type of a TOML value in words."""
    match given:
        case bool():
            return "true or false"
        case int():
            return "a whole number"
        case float():
            return "a number with a fraction"
        case str():
            return "a text"
        case list() | tuple():
            return "a list"
        case Mapping():
            return "a table"
        case _:
            return "a date or time"


def locate(
    found: Diagnostic,
    path: KeyPath,
    source: Source,
    overrides: Sequence[Override],
    at_key: bool,
) -> Diagnostic:
    """The finding with its place: the option that set it, or key or value in the file."""
    option = next(covering(path, overrides), None)
    if option is not None and option.place is None:
        return replace(found, path=path, file=option.option)
    if option is not None and option.place is not None:
        place_of_key = option.place[:-1] if isinstance(option.place[-1], int) else option.place
        found = replace(found, path=path)
        path = place_of_key if at_key else option.place
    else:
        found = replace(found, path=path)
    place = source.nearest(path)
    if place is None:
        return replace(found, file=source.name)
    span = place.key if at_key or path not in source.places else place.value
    text = source.line(span.line)
    return replace(found, file=source.name, span=span, line_text=text)


def covering(path: KeyPath, overrides: Sequence[Override]) -> Iterator[Override]:
    """Overrides that set the path or something above or below it, the last one first."""
    for override in reversed(overrides):
        shared = min(len(path), len(override.path))
        if shared and path[:shared] == override.path[:shared]:
            yield override
