"""Reference pages of the language: one for each table of a spec, with all of its keys."""

import re
from collections.abc import Iterator

from pydantic import BaseModel

from ddspec.dsl.parsing.public_code_names import ALIASES, UNREAD
from ddspec.dsl.parsing.sweep import SWEEP
from ddspec.dsl.reference.error_codes import CODES
from ddspec.dsl.spec.catalogue import Key, catalogue, describe_type, tag_of
from ddspec.dsl.toml_text import default_text, toml_text
from docs.generate.markdown import anchor, code, fields, link, page, plain, table, toctree
from docs.generate.prose import docstring_markdown, module_docstring, prose

TOP = "top_level"
"""Page of the keys that stand before the first table."""

INTRODUCTION = """\
A spec is one TOML file. Its keys stand in tables, and each table has a page here. `ddspec explain
KEY` prints the same texts.

A key that is left out has its default. The defaults of a version of the language never change.

The source of a key is the paper that it comes from. If the default is marked as the paper's
reading, a report names any other value as a deviation from that paper."""


def key_pages() -> Iterator[tuple[str, str]]:
    """Yield path and text of the page of each table, and of what belongs to the language."""
    tables = [key for key in catalogue().values() if not key.table and key.is_table]
    names = [TOP, *(key.path for key in tables), SWEEP, "public_code"]
    yield "keys/index.md", index_page(tables, names)
    yield f"keys/{TOP}.md", top_page()
    for key in tables:
        yield f"keys/{key.path}.md", table_page(key)
    yield f"keys/{SWEEP}.md", sweep_page()
    yield "keys/public_code.md", public_code_page()


def index_page(tables: list[Key], names: list[str]) -> str:
    """Return the page that lists all tables."""
    rows = [(link(header(key), f"{key.path}.md"), prose(key.meaning)) for key in tables]
    rows.append((link(code(f"[{SWEEP}]"), f"{SWEEP}.md"), "Several experiments in one file."))
    before = link("before the first table", f"{TOP}.md")
    return page(
        "# The language",
        docstring_markdown(INTRODUCTION),
        table(["table", "holds"], [(before, "Version, name, title and seed."), *rows]),
        toctree(names),
    )


def top_page() -> str:
    """Return the page of the keys that are in no table."""
    keys = [key for key in inner_keys("") if not key.is_table]
    return page("# Top level", "Keys that stand before the first table.", *details(keys, 2))


def table_page(top: Key) -> str:
    """Return the page of a table: a list of its keys, then each key."""
    below = [key for key in catalogue().values() if key.path.startswith(f"{top.path}.")]
    rows = [
        (
            link(code(key.path.removeprefix(f"{top.path}.")), f"#key.{key.path}"),
            prose(summary(key)),
            short_default(key),
        )
        for key in below
        if not key.is_table
    ]
    return page(
        anchor(f"key.{top.path}"),
        f"# {header(top)}",
        prose(top.meaning),
        fields(facts_of_table(top)),
        table(["key", "meaning", "default"], rows),
        *details(inner_keys(top.path), 2),
    )


def summary(key: Key) -> str:
    """Return the beginning of a key's meaning; that of its table if the key chooses the table."""
    chosen = default_if_absent(key) is not None
    meaning = catalogue()[key.table].meaning if chosen else key.meaning
    sentence = re.split(r"\. (?=[A-Z])", meaning)[0].rstrip(".")
    before_list = sentence.partition(": ")[0]
    # Part of a list of choices would mislead.
    return sentence if "`" in before_list else before_list


def short_default(key: Key) -> str:
    """Return the default of a key for the list of all keys of a page."""
    if not key.required:
        return code(default_of(key))
    chosen = default_if_absent(key)
    return "required" if chosen is None else code(toml_text(chosen))


def default_if_absent(key: Key) -> str | None:
    """Return the choice of a key without a default that the absence of its table means, if any."""
    if not key.required or not key.table or key.name != tag_of(key.table):
        return None
    chosen = getattr(catalogue()[key.table].default, key.name, None)
    return chosen if isinstance(chosen, str) else None


def details(keys: list[Key], depth: int) -> Iterator[str]:
    """Yield the section of each key; an inner table is followed by its own keys."""
    for key in [key for key in keys if not key.is_table]:
        yield anchor(f"key.{key.path}")
        yield f"{'#' * depth} {code(key.name)}"
        yield prose(key.meaning)
        yield fields(facts_of_key(key))
    for key in [key for key in keys if key.is_table and key.table]:
        yield anchor(f"key.{key.path}")
        yield f"{'#' * depth} {header(key)}"
        yield prose(key.meaning)
        yield fields(facts_of_table(key))
        yield from details(inner_keys(key.path), depth + 1)


def inner_keys(path: str) -> list[Key]:
    """Return the keys directly in a table."""
    return [key for key in catalogue().values() if key.table == path]


def facts_of_key(key: Key) -> Iterator[tuple[str, str]]:
    """Yield what is known of a key beside its meaning."""
    yield "Key", code(key.path)
    yield "Takes", takes(key)
    yield "Default", required_words(key) if key.required else code(default_of(key))
    if key.only_with:
        yield "Only with", code(key.only_with)
    reading = "; the default is the paper's reading" if key.reading else ""
    yield "Source", f"{plain(key.source)}{reading}"


def facts_of_table(key: Key) -> Iterator[tuple[str, str]]:
    """Yield what is known of a table beside its meaning and its keys."""
    if key.type == "tables":
        yield "Form", f"a list of tables, each under {header(key)}"
    elif key.required:
        yield "Default", required_words(key)
    else:
        yield "Default", code(default_of(key))
    if key.only_with:
        yield "Only with", code(key.only_with)
    if key.source:
        yield "Source", plain(key.source)


def required_words(key: Key) -> str:
    """Return when a key without a default must be given."""
    table_of_key = catalogue().get(key.table)
    if table_of_key is None or table_of_key.required:
        return "none: must be given"
    absent = default_if_absent(key)
    default = (
        "none" if absent is None else f"{code(toml_text(absent))} without {header(table_of_key)}"
    )
    return f"{default}; must be given in {header(table_of_key)}"


def takes(key: Key) -> str:
    """Return the values that a key takes as Markdown."""
    words = describe_type(key)
    if key.pattern_words:
        words = f"{words}; {key.pattern_words}" if key.choices else f"{words}: {key.pattern_words}"
    pieces = words.split('"')
    return "".join(
        code(f'"{part}"') if i % 2 else plain_piece(part) for i, part in enumerate(pieces)
    )


def plain_piece(text: str) -> str:
    """Return words between quoted names, with the spaces at their ends."""
    core = prose(text)
    return f"{' ' * text.startswith(' ')}{core}{' ' * (text.endswith(' ') and bool(core))}"


def default_of(key: Key) -> str:
    """Return the default of a key as TOML; that of a table by its choice alone."""
    if not isinstance(key.default, BaseModel):
        return default_text(key.default)
    tag = tag_of(key.path)
    name = getattr(key.default, tag, None)
    return toml_text(name) if isinstance(name, str) else "{}"


def header(key: Key) -> str:
    """Return a table's header as code."""
    return code(f"[[{key.path}]]" if key.type == "tables" else f"[{key.path}]")


def sweep_page() -> str:
    """Return the page of sweeps."""
    return page(
        anchor(f"key.{SWEEP}"),
        f"# {code(f'[{SWEEP}]')}",
        docstring_markdown(module_docstring("ddspec.dsl.parsing.sweep")),
        prose(CODES["bad-sweep"]),
    )


def public_code_page() -> str:
    """Return the page of names in the public code of the field."""
    unread = "accepted and never read by the public code"
    rows = [
        *((code(name), prose(f"`{path}`"), "") for name, path in ALIASES.items()),
        *((code(name), prose(f"`{path}`"), unread) for name, path in UNREAD.items()),
    ]
    return page(
        "# Names in public code",
        docstring_markdown(module_docstring("ddspec.dsl.parsing.public_code_names")),
        table(["there", "here", ""], sorted(rows, key=lambda row: row[0].lower())),
    )
