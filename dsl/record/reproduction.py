"""The outcome of a reproduction: every number beside the recorded one, with a verdict."""

from typing import Annotated, Literal

from pydantic import Strict

from ddspec.dsl.document import Document, Texts
from ddspec.dsl.record.record import Environment
from ddspec.dsl.record.series import Numbers

Verdict = Literal["PASS", "FAIL", "NOT COMPARABLE"]
Origin = Literal["record", "report", "spec"]


NOT_COMPARED = (
    "dates, times, sizes, memory, status and routes of the steps, machines and software, and "
    "comments in the spec"
)
"""What may differ between a run and its repetition, so that it is not compared."""


class Measured(Document):
    """One number, with its spread if it has one."""

    mean: float
    std: float | None = None
    n: int | None = None
    values: Numbers = ()


class Reproduced(Document):
    """A recorded number and the one measured again."""

    what: str
    recorded: Measured | None
    found: Measured | None
    verdict: Verdict
    reason: str


class Reproduction(Document):
    """The reproduction of a run."""

    format: Literal[1] = 1
    origin: Origin
    name: str
    title: str
    digest: str
    """Digest of the plan."""
    date: str
    verdict: Verdict
    numbers: Annotated[tuple[Reproduced, ...], Strict(False)]
    may_differ: Texts
    """Why bits may differ from the recorded ones; empty if they must be equal."""
    reused: Texts = ()
    """Steps whose artifacts were in the given store and so were not computed again."""
    recorded_in: Environment | None
    """Environment of the record; None for a spec, whose numbers are from a paper."""
    found_in: Environment
    folder: str
    """Name of the new run's folder."""


def overall(numbers: tuple[Reproduced, ...]) -> Verdict:
    """Return FAIL if any number fails, or else the verdict on the first, the result."""
    if any(number.verdict == "FAIL" for number in numbers):
        return "FAIL"
    return numbers[0].verdict if numbers else "NOT COMPARABLE"
