"""A finding of a verification, and the differences between two values."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal

from pydantic import BaseModel

from ddspec.dsl.record.record import Environment, Record
from ddspec.dsl.record.statistics import equal_to_rounding
from ddspec.engine.machine.environment import environment

FindingVerdict = Literal["ok", "fault", "not checked"]
MOST_NAMED = 5
"""Most differences that are listed one by one."""


@dataclass(frozen=True)
class Finding:
    """One check, and its result."""

    what: str
    verdict: FindingVerdict
    detail: str = ""


def finding(what: str, faults: Iterable[str], fine: str = "") -> Finding:
    """Return a finding that lists the first faults."""
    named = list(islice(faults, MOST_NAMED + 1))
    if not named:
        return Finding(what, "ok", fine)
    more = "; and more" if len(named) > MOST_NAMED else ""
    return Finding(what, "fault", "; ".join(named[:MOST_NAMED]) + more)


def not_checked_if(condition: bool, found: Finding, reason: str) -> Finding:
    """Return a fault as something that is not checked, with the reason, under a condition."""
    if found.verdict != "fault" or not condition:
        return found
    return replace(found, verdict="not checked", detail=f"{found.detail}; {reason}")


def in_words_of_its_version(record: Record, found: Finding) -> Finding:
    """Return the finding on a text, which another ddspec may write otherwise.

    Between two releases, each commit is another ddspec.
    """
    before, now = build_of(record.environment), build_of(environment("cpu"))
    return not_checked_if(before != now, found, f"ddspec {before} wrote it, this is {now}")


def build_of(machine: Environment) -> str:
    """Return the version of ddspec, with its commit if it was run from a checkout."""
    return machine.ddspec + (f" ({machine.commit})" if machine.commit else "")


def diff_paths(
    first: Any, other: Any, path: str = "", *, but_rounding: bool = False
) -> Iterator[str]:
    """Yield the path to each difference between two values, with both values.

    With `but_rounding`, numbers may differ by rounding.
    """
    if isinstance(first, BaseModel):
        first = first.model_dump(mode="json")
    if isinstance(other, BaseModel):
        other = other.model_dump(mode="json")
    if isinstance(first, dict) and isinstance(other, dict):
        for key in dict.fromkeys([*first, *other]):
            inner = f"{path}.{key}" if path else str(key)
            yield from diff_paths(first.get(key), other.get(key), inner, but_rounding=but_rounding)
    elif isinstance(first, list | tuple) and isinstance(other, list | tuple):
        if len(first) != len(other):
            yield f"{path} has {len(other)} entries, not {len(first)}"
            return
        for index, (left, right) in enumerate(zip(first, other, strict=True)):
            yield from diff_paths(left, right, f"{path}[{index}]", but_rounding=but_rounding)
    elif not (same_value if but_rounding else identical)(first, other):
        yield f"{path} is {short(other)}, not {short(first)}"


BY_ROUNDING = "by rounding, as with another version of Python or NumPy or another processor"

NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


def identical(first: Any, other: Any) -> bool:
    """Return whether two values are equal; NaN equals NaN."""
    return bool(first == other or (first != first and other != other))


def same_value(first: Any, other: Any) -> bool:
    """Return whether two values are equal, floats up to rounding."""
    if isinstance(first, float) and isinstance(other, float):
        return equal_to_rounding(first, other)
    return bool(first == other)


def same_text(first: str, other: str) -> bool:
    """Return whether two texts are equal, the numbers in them up to rounding."""
    if first == other:
        return True
    if NUMBER.split(first) != NUMBER.split(other):
        return False
    pairs = zip(NUMBER.findall(first), NUMBER.findall(other), strict=True)
    return all(a == b or same_value(float(a), float(b)) for a, b in pairs)


MOST_SHOWN = 200
"""Most characters of a value in a message; class names and notes may be of any length."""


def short(value: Any) -> str:
    """Return a value as text, cut if it is long."""
    text = repr(value)
    return text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + "..."
