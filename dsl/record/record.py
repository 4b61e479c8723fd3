"""The record: what a run did and its results, in one JSON document.

It contains the spec and the plan, so that anybody who has the record can run the same experiment
again. It names no path, host or user.
"""

from typing import Annotated, Literal

from pydantic import Field, Strict

from ddspec.dsl.document import Document
from ddspec.dsl.facts.datasets import DatasetFacts
from ddspec.dsl.facts.reading import DataReading
from ddspec.dsl.plan.route import Estimate, Route
from ddspec.dsl.plan.steps import Plan
from ddspec.dsl.record.deviations import Departure, Deviation
from ddspec.dsl.record.series import Number, Numbers, Series
from ddspec.dsl.record.synthetic_set import (
    ClassLosses,
    ClusterPicture,
    ImageSheet,
    ImportedSet,
    SetExtremes,
    SoftLabels,
)
from ddspec.dsl.spec.evaluation import Expectation
from ddspec.dsl.table_text import html_table
from ddspec.dsl.terms import Choice, NetworkName, StepKind, Subject

RunStatus = Literal["done", "diverged", "interrupted", "failed"]
StepStatus = Literal["computed", "reused", "partly reused", "not run", "interrupted", "failed"]


class Environment(Document):
    """The environment of a run: everything that its numbers may depend on."""

    ddspec: str
    commit: str | None
    """Commit of the ddspec checkout; None for an installed wheel."""
    python: str
    packages: dict[str, str]
    system: str
    device: str
    """Name of the processor or the GPU."""
    cores: int
    cuda: str | None = None
    """CUDA version of torch; None on a CPU, likewise the next two."""
    cudnn: str | None = None
    driver: str | None = None
    """Version of NVIDIA's kernel driver."""
    instruction_set: str | None = None
    """Extensions of the processor that libraries choose their code by; None if not known."""
    variables: dict[str, str] | None = None
    """Environment variables that choose otherwise, such as ATEN_CPU_CAPABILITY; None if not
    known."""


class StepCost(Document):
    """What a step cost in one sitting."""

    seconds: Number
    """Wall time."""
    memory_bytes: int
    """Peak memory while it ran."""
    computed: int
    """Artifacts that were made or continued."""


class Sitting(Document):
    """One call of `ddspec run` that computed something for this run."""

    date: str
    """End of the sitting: UTC, ISO 8601."""
    environment: Environment
    status: RunStatus
    """How the sitting ended."""
    steps: dict[str, StepCost]
    """Costs by step, of those that had something to do."""
    seconds: Number | None = None
    """Wall time in which a step ran, counted once where several ran at the same time."""

    @property
    def wall_seconds(self) -> float:
        """Return the wall time; of an older record the sum over its steps, one after another."""
        if self.seconds is not None:
            return self.seconds
        return sum(cost.seconds for cost in self.steps.values())


class StepRecord(Document):
    """One step: whether it ran, and what it cost when it was made."""

    id: str
    kind: StepKind
    digest: str
    status: StepStatus
    members: int
    """Artifacts that the step delivers."""
    computed: int
    """Artifacts that this run made or continued, over all its sittings."""
    seconds: Number
    """Wall time of this run, over all its sittings."""
    memory_bytes: int = 0
    """Peak memory while it ran; 0 if it did not run."""
    seconds_when_made: Number
    """Wall time of each of its artifacts when it was made, in any run, added up.

    Artifacts that were made in parallel count in full, so it can exceed the wall time of the step.
    """
    processor_seconds_when_made: Number | None = None
    """Processor time of its artifacts when they were made, in any run; None if not known."""
    memory_bytes_when_made: int = 0
    """Peak memory of a process that made one of its artifacts, in any run; 0 if not known."""
    environments: Annotated[tuple[Environment, ...], Strict(False)] = ()
    """Machines and software that made its artifacts, in any run; empty if not known."""
    bytes: int
    """Size of its artifacts on disk."""
    route: Route
    processes: int = 1
    """How many of its artifacts were made in parallel."""
    mixed_routes: bool
    """Whether some reused artifact was made by another route."""
    estimate: Estimate


class ExpertRecord(Document):
    """One expert's training, epoch by epoch."""

    index: int
    train_loss: Numbers
    train_accuracy: Numbers
    """Percent, on augmented batches during the epoch."""
    test_accuracy: Numbers
    """Percent, after each epoch."""
    step_length: Numbers
    """Distance between consecutive snapshots."""
    path_accuracy: Numbers = ()
    """Percent, on the path in place of the trajectory, at every epoch from 0 on."""
    curve_loss: Numbers = ()
    """Mean test loss along a Bezier curve before and after its control point was trained."""
    avg_var: Number
    """Mean squared distance between consecutive snapshots (AST, arXiv:2310.10541, Fig. 9)."""


class Evaluated(Document):
    """Accuracies of fresh networks trained on one synthetic set."""

    subject: Subject
    network: NetworkName
    iteration: int
    """Of the synthetic set; 0 for baselines."""
    student_lr: Number
    """Learning rate that the networks were trained with."""
    values: Numbers
    """Test accuracy of every network, in percent."""
    validation: Numbers = ()
    """The same on the held-out images, if there are any."""
    ran_away: int
    """Networks whose parameters became non-finite; they predict one class for every image."""


SUBJECT_WORDS: dict[Subject, str] = {
    "distilled": "the synthetic set",
    "random_real": "random real images",
    "random_real_expert_labels": "random real images with expert labels",
    "full_data": "all real images",
    "distilled_hard_labels": "the last synthetic set with hard labels",
    "distilled_plain": "the last synthetic set without augmentation",
    "random_real_plain": "random real images without augmentation",
}
"""What the networks of an evaluation were trained on."""


class Accuracy(Document):
    """A mean over fresh networks, in percent; std is the population's, as in the field."""

    mean: Number
    std: Number
    n: int
    values: Numbers
    network: NetworkName
    choose: Choice | Literal["none"]
    iteration: int

    @property
    def text(self) -> str:
        """Mean and standard deviation in percent; the mean alone of a single network."""
        spread = f" +- {self.std:.2f}" if self.n > 1 else ""
        return f"{self.mean:.2f}{spread} %"


class Compared(Document):
    """A published number beside the one measured by the same choice."""

    expectation: Expectation
    measured: Accuracy
    difference: Number
    """Measured minus expected, in points."""
    verdict: Literal["agrees", "differs", "not decidable"]
    test: str
    """The test that gave the verdict, in words, with its numbers."""


class Reached(Document):
    """The iteration at which an accuracy was first reached."""

    accuracy: Number
    """In percent."""
    what: str
    """The meaning of that accuracy."""
    iteration: int | None
    """First evaluated iterate whose mean is at least that; None if there is none."""


class Results(Document):
    """The results of a run."""

    accuracy: Accuracy | None
    """First network, by `evaluation.choose`; None if no set was evaluated."""
    last: Accuracy | None
    best_on_test: Accuracy | None
    """The literature's choice: the maximum over evaluations on the test set."""
    on_validation: Accuracy | None = None
    """Test accuracy of the iterate that is best on held-out images; None without such images."""
    per_network: dict[str, Accuracy]
    random_real: dict[str, Accuracy]
    """Baseline by network: random real images, each network on its own draw."""
    random_real_expert_labels: dict[str, Accuracy]
    """The same images with soft labels: expert 0's softmax at its last epoch, temperature 1."""
    full_data: dict[str, Accuracy] = Field(default_factory=dict)
    """All real images, if the spec asks for them; likewise the next three."""
    distilled_hard_labels: dict[str, Accuracy] = Field(default_factory=dict)
    distilled_plain: dict[str, Accuracy] = Field(default_factory=dict)
    """Without augmentation; likewise the next."""
    random_real_plain: dict[str, Accuracy] = Field(default_factory=dict)
    expert: Number | None
    """Test accuracy in percent of expert 0 at its last epoch."""
    reached: Annotated[tuple[Reached, ...], Strict(False)]
    """Iterations that the first network needed for given accuracies."""

    @property
    def baselines(self) -> dict[Subject, dict[str, Accuracy]]:
        """The accuracies that the result is compared with, by subject and network."""
        return {
            "random_real": self.random_real,
            "random_real_expert_labels": self.random_real_expert_labels,
            "full_data": self.full_data,
            "distilled_hard_labels": self.distilled_hard_labels,
            "distilled_plain": self.distilled_plain,
            "random_real_plain": self.random_real_plain,
        }


class Storage(Document):
    """Bytes of the matched trajectories, beside those of all snapshots of all experts."""

    experts: int
    stored: int
    """Bytes of the snapshots that this run matches, or of the waypoints and constants."""
    full: int
    """Bytes of (epochs + 1) float32 snapshots of every expert."""


class Outcome(Document):
    """How the run ended."""

    status: RunStatus
    iteration: int | None = None
    cause: str = ""
    advice: str = ""


class WarningSign(Document):
    """A sign that a run failed, although it may have ended as planned."""

    kind: Literal[
        "at_chance",
        "below_random_real",
        "exploded_pixels",
        "saturated_labels",
        "loss_of_standing_still",
        "vanished_gradient",
    ]
    text: str


class Record(Document):
    """One run."""

    format: Literal[1] = 1
    name: str
    title: str
    date: str
    """UTC, ISO 8601."""
    outcome: Outcome
    results: Results
    compared: Annotated[tuple[Compared, ...], Strict(False)]
    dataset: DatasetFacts
    reading: DataReading | None = None
    """From which files the images were read; None in a record of ddspec 0.1.0."""
    steps: Annotated[tuple[StepRecord, ...], Strict(False)]
    sittings: Annotated[tuple[Sitting, ...], Strict(False)] = ()
    """The calls that computed something, in their order; ddspec 0.1.0 recorded none."""
    experts: Annotated[tuple[ExpertRecord, ...], Strict(False)]
    series: Series
    evaluations: Annotated[tuple[Evaluated, ...], Strict(False)]
    storage: Storage
    sheets: Annotated[tuple[ImageSheet, ...], Strict(False)]
    soft_labels: SoftLabels | None
    """Those of the chosen synthetic set; None if labels are hard."""
    extremes: SetExtremes | None = None
    """Those of the chosen synthetic set; None without one, and in records of ddspec 0.1.0."""
    class_losses: ClassLosses | None = None
    """Those of the chosen synthetic set; None if classes are not compared one by one."""
    imported_set: ImportedSet | None = None
    """The set from elsewhere that the run begins from, if any."""
    clusters: Annotated[tuple[ClusterPicture, ...], Strict(False)]
    """Those of the first classes, if initialisation used k-means."""
    deviations: Annotated[tuple[Deviation, ...], Strict(False)]
    """Keys whose value differs from the paper of their ingredient."""
    departures: Annotated[tuple[Departure, ...], Strict(False)] = ()
    """Settings that options change in a spec of published numbers; none in older records."""
    notes: Annotated[tuple[str, ...], Strict(False)]
    """Notes that a reader needs to interpret the numbers."""
    warnings: Annotated[tuple[WarningSign, ...], Strict(False)] = ()
    """Signs that the run failed; records of ddspec 0.1.0 have none."""
    environment: Environment
    spec: str
    """The spec file, verbatim."""
    swept: bool = False
    """Whether the spec is that of a sweep; `overrides` then hold what this run changes in it."""
    overrides: Annotated[tuple[str, ...], Strict(False)]
    """`--set` options of the run."""
    resolved: str
    """The spec with every default and override written out; it gives the same plan."""
    plan: Plan
    files: dict[str, str] = Field(default_factory=dict)
    """SHA-256 of the files beside the record, by their path in the run folder."""

    def __repr__(self) -> str:
        return f"<Record {self.plan.folder}: {self.headline}>"

    def _repr_html_(self) -> str:
        accuracies = {"distilled": self.results.per_network, **self.results.baselines}
        rows = [
            (SUBJECT_WORDS[subject], network, accuracy.text, str(accuracy.n))
            for subject, networks in accuracies.items()
            for network, accuracy in networks.items()
        ]
        head = ("trained on", "network", "test accuracy", "networks")
        return html_table(f"{self.title or self.name}: {self.headline}", rows, head)

    @property
    def headline(self) -> str:
        """Return how the run ended, and its accuracy if it has one."""
        accuracy = self.results.accuracy
        status = f"{self.outcome.status}{', a preview' if self.plan.preview else ''}"
        if accuracy is None:
            return status
        return f"{status}, {accuracy.text} (n = {accuracy.n}, {accuracy.network})"

    @property
    def wall_seconds(self) -> float:
        """Return the wall time of all sittings; without any, the sum over the steps."""
        if self.sittings:
            return sum(sitting.wall_seconds for sitting in self.sittings)
        return sum(step.seconds for step in self.steps)
