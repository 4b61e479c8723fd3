"""Long explanations: of the codes of diagnostics, and of the keys of the language."""

import difflib
import textwrap
from typing import get_args

from ddspec.dsl.extensions.declaration import PartKind
from ddspec.dsl.extensions.installed import installed_extension, owners
from ddspec.dsl.parsing.sweep import SWEEP
from ddspec.dsl.reference.error_codes import CODES
from ddspec.dsl.spec.catalogue import Key, catalogue, describe_type, keys_of_model, tag_of
from ddspec.dsl.toml_text import default_text


def explain(subject: str) -> str | None:
    """Return the explanation of a code, a key, or a part of an extension; None if it is none."""
    if subject in CODES:
        return f"{subject}\n\n  " + " ".join(CODES[subject].split())
    if "/" in subject:
        return explain_part(subject)
    if subject == SWEEP:
        return f"{SWEEP}\n\n  " + " ".join(CODES["bad-sweep"].split())
    entry = catalogue().get(subject)
    if entry is None:
        same = [key for key in catalogue().values() if f".{key.path}".endswith(f".{subject}")]
        if not same and subject in owners():
            return explain_extension(subject)
        return "\n\n".join(explain_key(key) for key in same) or None
    return explain_key(entry)


def explain_extension(owner: str) -> str:
    """Return the names and meanings of all parts of an installed extension."""
    extension = installed_extension(owner)
    lines = [f"{owner}: {extension.package} {extension.version}"]
    for kind in KINDS:
        for name, part in extension.declaration.parts(kind).items():
            lines += ["", f"  {owner}/{name}, for {KINDS_WORDS[kind]}"]
            lines += wrapped("  ", part.meaning or "The package does not say what it is.")
    return "\n".join(lines)


def explain_part(name: str) -> str:
    """Return the meaning of a part of an installed extension, and of its keys.

    Raises MachineError if no extension that is installed here has it.
    """
    extension = installed_extension(name.partition("/")[0])
    kinds = [kind for kind in KINDS if name.partition("/")[2] in extension.declaration.parts(kind)]
    lines = [f"{name}, of {extension.package} {extension.version}"]
    for kind in kinds or KINDS[:1]:
        part = extension.part(kind, name)
        lines += ["", *wrapped("", part.meaning or "The package does not say what it is.")]
        lines += ["", f"  for      {KINDS_WORDS[kind]}"]
        for entry in keys_of_model(part.keys, ""):
            lines += ["", explain_key(entry)]
    return "\n".join(lines)


KINDS: tuple[PartKind, ...] = get_args(PartKind)
KINDS_WORDS: dict[PartKind, str] = {
    "losses": "matching.loss",
    "objectives": "matching.objective",
    "networks": "network.name and evaluation.networks",
    "datasets": "dataset.name",
}
"""The keys that name parts of each kind."""


def explain_key(entry: Key) -> str:
    """Return meaning, type, range, default and source of a key; for a table, its keys."""
    lines = [entry.path, "", f"  {entry.meaning}"]
    if entry.is_table:
        inner = [key for key in catalogue().values() if key.table == entry.path]
        width = max(len(key.name) for key in inner) + 2
        lines.append("")
        for key in inner:
            lines += wrapped(f"{key.name:<{width}}", key.meaning)
        return "\n".join(lines)
    lines += ["", f"  takes    {describe_type(entry)}"]
    lines.append(f"  default  {default_words(entry)}")
    if entry.only_with:
        lines.append(f"  only     with {entry.only_with}")
    lines.append(f"  source   {entry.source}")
    return "\n".join(lines)


def default_words(entry: Key) -> str:
    """Return the default of a key; of a required key, what stands without its table."""
    if not entry.required:
        return default_text(entry.default)
    table = catalogue().get(entry.table)
    if table is None or table.required or entry.name != tag_of(entry.table):
        return "none: must be given"
    without = getattr(table.default, entry.name, None)
    what = "nothing" if without is None else default_text(without)
    return f"none in [{entry.table}]; without that table, {what}"


WIDTH = 88
"""Most characters of a line in a list."""


def wrapped(head: str, text: str) -> list[str]:
    """Return a text beside its head, in lines of a readable length."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=f"  {head}",
        subsequent_indent=" " * (len(head) + 2),
        break_on_hyphens=False,
    )


def list_of_subjects() -> str:
    """Return every table with the names of its keys, and every code."""
    keys = catalogue().values()
    tables = [key for key in keys if key.is_table]
    lines = ["tables and their keys", ""]
    top = [key.name for key in keys if not key.table and not key.is_table]
    for path, names in (
        ("", top),
        *((table.path, [key.name for key in keys if key.table == table.path]) for table in tables),
    ):
        lines += wrapped(f"{f'[{path}]' if path else 'above all tables'}  ", ", ".join(names))
    lines += ["", "error codes", "", *wrapped("", ", ".join(sorted(CODES)))]
    if owners():
        lines += ["", "owners of installed extensions", "", *wrapped("", ", ".join(owners()))]
    return "\n".join(lines)


def subjects() -> list[str]:
    """Return everything that can be explained: codes, paths of keys, and names of keys."""
    names = [*CODES, *catalogue(), *(key.name for key in catalogue().values())]
    return list(dict.fromkeys(names))


def near(subject: str) -> list[str]:
    """Return codes and keys with a similar name."""
    return difflib.get_close_matches(subject, subjects(), n=3, cutoff=0.5)
