"""What became of doing a run again: every number beside the recorded one, with a verdict."""

from typing import Annotated, Literal

from pydantic import Strict

from ddspec.dsl.document import Document
from ddspec.dsl.record.record import Environment
from ddspec.dsl.record.series import Numbers

Verdict = Literal["PASS", "FAIL", "NOT COMPARABLE"]
Origin = Literal["record", "report", "spec"]
Texts = Annotated[tuple[str, ...], Strict(False)]


class Measured(Document):
    """One number, with its spread where it has any."""

    mean: float
    std: float | None = None
    n: int | None = None
    values: Numbers = ()


class Reproduced(Document):
    """A recorded number and the one found again."""

    what: str
    recorded: Measured | None
    found: Measured | None
    verdict: Verdict
    reason: str


class Reproduction(Document):
    """A run done again."""

    format: Literal[1] = 1
    origin: Origin
    name: str
    title: str
    digest: str
    """Of the plan."""
    date: str
    verdict: Verdict
    numbers: Annotated[tuple[Reproduced, ...], Strict(False)]
    may_differ: Texts
    """Why bits may differ from the recorded ones; empty where nothing gives leave to."""
    reused: Texts = ()
    """Steps whose artifacts were found in a store that was named, and so were not made again."""
    recorded_in: Environment | None
    """None for a spec, whose numbers are a paper's."""
    found_in: Environment
    folder: str
    """Name of the folder of the run that was done."""


def overall(numbers: tuple[Reproduced, ...]) -> Verdict:
    """FAIL where any number fails; else what the first one says, which is the result."""
    if any(number.verdict == "FAIL" for number in numbers):
        return "FAIL"
    return numbers[0].verdict if numbers else "NOT COMPARABLE"
