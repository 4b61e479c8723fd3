"""How a key of the language is declared, and where keys come from."""

from collections.abc import Callable
from typing import Any

from pydantic import Field, Strict

MTT = "MTT (arXiv:2203.11932)"
AST = "AST (arXiv:2310.10541)"
MCT = "MCT (arXiv:2406.19827)"
FTD = "FTD (arXiv:2211.11004)"
TESLA = "TESLA (arXiv:2211.10586)"
DATM = "DATM (arXiv:2310.05773)"
ATT = "ATT (arXiv:2407.14245)"
CORESETS = "DC (arXiv:2006.05929)"
DSA = "DSA (arXiv:2102.08259)"
ADAM = "Adam (arXiv:1412.6980)"
DDSPEC = "ddspec"

SEED_LIMIT = 2**63 - 1
MOST = 1_000_000_000
"""What no count or length exceeds."""


NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
"""What an experiment may be called; folders are named by it."""


def key(default: Any = ..., *, source: str, reading: bool = False, **bounds: Any) -> Any:
    """A key of the language: its default (or none), where it comes from, its range.

    `reading`: the default is what the paper in `source` says, and another value is a departure
    from the paper that a report has to name. Learning rates and tuned counts are not readings.
    """
    return Field(default, json_schema_extra={"source": source, "reading": reading}, **bounds)


def by_name(value: Any) -> Any:
    """`init = "real"` is short for `init = { name = "real" }`."""
    return {"name": value} if isinstance(value, str) else value


TAGS = {"trajectory": "type"}
"""Tables that are selected by another key than `name`; see `catalogue.tag_of`."""


def by_type(value: Any) -> Any:
    """`trajectory = "convex"` is short for `trajectory = { type = "convex" }`."""
    return {TAGS["trajectory"]: value} if isinstance(value, str) else value


def by_name_or(default: str) -> Callable[[Any], Any]:
    """Like `by_name`; a table without a name has the default one."""

    def named(value: Any) -> Any:
        value = by_name(value)
        return {"name": default, **value} if isinstance(value, dict) else value

    return named


Tuple = Strict(False)
"""TOML has arrays and no tuples; the items stay strict."""
