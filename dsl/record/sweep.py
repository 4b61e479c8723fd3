"""The record of a sweep: its runs side by side."""

from typing import Annotated, Any, Literal

from pydantic import Field, Strict

from ddspec.dsl.digest import DIGEST
from ddspec.dsl.document import Document, Texts
from ddspec.dsl.keys.declare import NAME
from ddspec.dsl.record.record import Accuracy, Compared, WarningSign
from ddspec.dsl.record.series import Number, Numbers

SweptRunStatus = Literal["done", "diverged", "interrupted", "failed", "not run"]


class SweptAxis(Document):
    """One axis of a sweep: what changes along it."""

    name: str
    entries: Texts


class SweptRun(Document):
    """One run of a sweep."""

    label: str
    entries: Texts
    """The run's entry on every axis."""
    after: str | None = None
    """The case whose changes the run's case inherits."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """The values that the run changes, by dotted key."""
    folder: str
    """Name of the run folder."""
    digest: str
    """Digest of the run's plan."""
    status: SweptRunStatus
    cause: str = ""
    warnings: Annotated[tuple[WarningSign, ...], Strict(False)] = ()
    """Signs that the run failed."""
    accuracy: Accuracy | None = None
    random_real: Accuracy | None = None
    expert: Number | None = None
    """Test accuracy in percent of expert 0 at its last epoch."""
    avg_var: Number | None = None
    """Avg_Var of expert 0."""
    compared: Annotated[tuple[Compared, ...], Strict(False)] = ()
    """Published numbers beside the measured ones."""
    seconds: Number = 0.0
    """Wall time of the steps over all sittings of the run, without reused work."""


class SeedGroup(Document):
    """Runs of a sweep that differ in their seed alone: one result over several synthetic sets."""

    entries: Texts
    """The entry on every other axis."""
    runs: Annotated[tuple[int, ...], Strict(False)]
    """Numbers of the runs that were evaluated."""
    planned: int
    """Number of runs that the sweep has of the group."""
    accuracy: Accuracy
    """Over the networks of all sets together, as the field prints it."""
    set_means: Numbers
    """Mean accuracy of each set."""
    std_over_sets: Number
    """Population standard deviation of the means of the sets."""
    compared: Annotated[tuple[Compared, ...], Strict(False)] = ()
    """Published numbers that are averages over several sets, beside the measured ones."""


class SweepRecord(Document):
    """A sweep with the runs that were made so far."""

    format: Literal[1] = 1
    name: str = Field(pattern=NAME)
    title: str
    digest: str = Field(pattern=DIGEST)
    """Digest of the digests and labels of all its runs."""
    date: str
    axes: Annotated[tuple[SweptAxis, ...], Strict(False)]
    runs: Annotated[tuple[SweptRun, ...], Strict(False)]
    groups: Annotated[tuple[SeedGroup, ...], Strict(False)] = ()
    """Results over several seeds, if the sweep has any."""
    spec: str
    """The file, verbatim."""
    overrides: Texts = ()

    @property
    def folder(self) -> str:
        """Name of the sweep's folder."""
        return f"{self.name}-sweep-{self.digest[:8]}"
