"""How keys of the language are declared, and the papers that they come from."""

from collections.abc import Callable
from typing import Any

from pydantic import Field, Strict
from pydantic.config import JsonDict

MTT = "MTT (arXiv:2203.11932)"
AST = "AST (arXiv:2310.10541)"
MCT = "MCT (arXiv:2406.19827)"
BTM = "BTM (arXiv:2510.05805)"
FTD = "FTD (arXiv:2211.11004)"
TESLA = "TESLA (arXiv:2211.10586)"
DATM = "DATM (arXiv:2310.05773)"
ATT = "ATT (arXiv:2407.14245)"
PAD = "PAD (arXiv:2408.03360)"
EL2N = "EL2N (arXiv:2107.07075)"
DC = "DC (arXiv:2006.05929)"
"""Its authors compared with the coresets, too."""
DSA = "DSA (arXiv:2102.08259)"
DM = "DM (arXiv:2110.04181)"
CAFE = "CAFE (arXiv:2203.01531)"
DD_RANKING = "DD-Ranking (arXiv:2505.13300)"
NCFM = "NCFM (arXiv:2502.20653)"
IDC = "IDC (arXiv:2205.14959)"
FREPO = "FRePo (arXiv:2206.00719)"
LAMB = "LAMB (arXiv:1904.00962)"
RAT_BPTT = "RaT-BPTT (arXiv:2311.07025)"
ADAM = "Adam (arXiv:1412.6980)"
DDSPEC = "ddspec"

SEED_LIMIT = 2**63 - 1
MOST = 1_000_000_000
"""Upper bound on counts and lengths."""
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
"""Names of experiments; run folders are named after them."""
NAME_WORDS = (
    "1 to 100 letters, digits, dots, dashes or underscores, beginning with a letter or digit"
)


def key(
    default: Any = ...,
    *,
    source: str,
    reading: bool = False,
    pattern_words: str = "",
    **bounds: Any,
) -> Any:
    """Declare a key of the language: its default (if any), its source and its range.

    `reading` says that the default is what the paper in `source` says, so that a report
    names any other value as a departure from the paper. Learning rates and tuned counts
    are not readings. `pattern_words` describe the pattern of a string in messages.
    """
    extra: JsonDict = {"source": source, "reading": reading}
    if pattern_words:
        extra["pattern_words"] = pattern_words
    return Field(default, json_schema_extra=extra, **bounds)


def by_name(value: Any) -> Any:
    """Expand the short form: `init = "real"` means `init = { name = "real" }`."""
    return {"name": value} if isinstance(value, str) else value


TAGS = {"trajectory": "type", "matching": "objective"}
"""Tables whose alternatives another key than `name` selects; see `catalogue.tag_of`."""


def by_type(value: Any) -> Any:
    """Expand the short form: `trajectory = "convex"` means `{ type = "convex" }`."""
    return {TAGS["trajectory"]: value} if isinstance(value, str) else value


def by_objective(value: Any) -> Any:
    """Give [matching] its default objective, which is trajectory matching."""
    tag = TAGS["matching"]
    value = {tag: value} if isinstance(value, str) else value
    return {tag: "trajectory", **value} if isinstance(value, dict) else value


def by_name_or(default: str) -> Callable[[Any], Any]:
    """Return a function like `by_name` that gives a table without a name the default one."""

    def add_name(value: Any) -> Any:
        value = by_name(value)
        return {"name": default, **value} if isinstance(value, dict) else value

    return add_name


Tuple = Strict(False)
"""Accept lists for a tuple, since TOML has no tuples; the items stay strict."""
