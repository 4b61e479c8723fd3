"""What became of a sweep: its runs side by side."""

from typing import Annotated, Any, Literal

from pydantic import Field, Strict

from ddspec.dsl.digest import DIGEST
from ddspec.dsl.document import Document
from ddspec.dsl.record.record import Accuracy, Compared
from ddspec.dsl.spec.declare import NAME

RunStatus = Literal["done", "diverged", "interrupted", "failed", "not run"]
Texts = Annotated[tuple[str, ...], Strict(False)]


class SweptAxis(Document):
    """What changed from run to run."""

    name: str
    entries: Texts


class SweptRun(Document):
    """One run of a sweep."""

    label: str
    entries: Texts
    """Its position on every axis."""
    after: str | None = None
    """The case that its case goes on from."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """What it changes, by dotted key."""
    folder: str
    """Name of its run folder."""
    digest: str
    """Of its plan."""
    status: RunStatus
    cause: str = ""
    accuracy: Accuracy | None = None
    random_real: Accuracy | None = None
    expert: float | None = None
    """Test accuracy in percent of expert 0 at its last epoch."""
    avg_var: float | None = None
    """Of expert 0."""
    compared: Annotated[tuple[Compared, ...], Strict(False)] = ()
    """Published numbers beside the measured ones."""
    seconds: float = 0.0
    """How long it took in the call that computed it; what it shares with earlier runs is theirs."""


class SweepRecord(Document):
    """A sweep with the runs that were made so far."""

    format: Literal[1] = 1
    name: str = Field(pattern=NAME)
    title: str
    digest: str = Field(pattern=DIGEST)
    """Of the digests and labels of all its runs."""
    date: str
    axes: Annotated[tuple[SweptAxis, ...], Strict(False)]
    runs: Annotated[tuple[SweptRun, ...], Strict(False)]
    spec: str
    """The file, verbatim."""
    overrides: Texts = ()

    @property
    def folder(self) -> str:
        """Name of the sweep's folder."""
        return f"{self.name}-sweep-{self.digest[:8]}"
