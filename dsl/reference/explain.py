"""Long explanations: of the codes of diagnostics, and of the keys of the language."""

import difflib

from ddspec.dsl.parsing.sweep import SWEEP
from ddspec.dsl.reference.error_codes import CODES
from ddspec.dsl.spec.catalogue import Key, catalogue, describe_type
from ddspec.dsl.toml_text import default_text


def explain(subject: str) -> str | None:
    """Return the explanation of a code or a key; None if it is neither."""
    if subject in CODES:
        return f"{subject}\n\n  " + " ".join(CODES[subject].split())
    if subject == SWEEP:
        return f"{SWEEP}\n\n  " + " ".join(CODES["bad-sweep"].split())
    entry = catalogue().get(subject)
    if entry is None:
        same = [key for key in catalogue().values() if key.name == subject]
        return "\n\n".join(explain_key(key) for key in same) or None
    return explain_key(entry)


def explain_key(entry: Key) -> str:
    """Return meaning, type, range, default and source of a key; for a table, its keys."""
    lines = [entry.path, "", f"  {entry.meaning}"]
    if entry.is_table:
        inner = [key for key in catalogue().values() if key.table == entry.path]
        lines += ["", *(f"  {key.name:<16} {key.meaning}" for key in inner)]
        return "\n".join(lines)
    lines += ["", f"  takes    {describe_type(entry)}"]
    lines.append(
        f"  default  {'none: must be given' if entry.required else default_text(entry.default)}"
    )
    if entry.only_with:
        lines.append(f"  only     with {entry.only_with}")
    lines.append(f"  source   {entry.source}")
    return "\n".join(lines)


def near(subject: str) -> list[str]:
    """Return codes and keys with a similar name."""
    names = [*CODES, *catalogue(), *(key.name for key in catalogue().values())]
    return list(dict.fromkeys(difflib.get_close_matches(subject, names, n=3, cutoff=0.5)))
