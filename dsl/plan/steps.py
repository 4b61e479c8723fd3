"""The plan: the work to do, made by the compiler and carried out by the engine.

A step names its result by a digest. Some steps have many results, one artifact each: an expert
per index, a synthetic set per kept iteration, an evaluation per synthetic set. Such a member has
the digest of the step's preimage with its number added, so that results of the same step are
shared between plans that need different members.
"""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import Discriminator, Field, Strict, model_validator

from ddspec.dsl.digest import DIGEST, Preimage, digest
from ddspec.dsl.document import Document
from ddspec.dsl.facts.datasets import DatasetFacts
from ddspec.dsl.keys.declare import NAME
from ddspec.dsl.keys.extension import ExtensionPart
from ddspec.dsl.plan.older_plans import with_needs
from ddspec.dsl.plan.route import MOST_AT_ONCE, Estimate, Route
from ddspec.dsl.spec.dataset import Dataset
from ddspec.dsl.spec.evaluation import Evaluation
from ddspec.dsl.spec.experiment import Augmentation, Compute
from ddspec.dsl.spec.experts import Experts
from ddspec.dsl.spec.matching import Matching
from ddspec.dsl.spec.network import JudgingNetwork, Network
from ddspec.dsl.spec.objectives.classes import ClassMatching
from ddspec.dsl.spec.objectives.trajectory import TrajectoryMatching
from ddspec.dsl.spec.synthetic import Synthetic
from ddspec.dsl.spec.trajectory import BezierTrajectory, Surrogate, Trajectory
from ddspec.dsl.table_text import html_table
from ddspec.dsl.terms import Choice, NetworkName, Subject


class Member(Document):
    """One artifact of a step: an expert, a synthetic set, an evaluation."""

    number: int
    """Index of the expert, or iteration of the synthetic set."""
    digest: str


class PlannedStep(Document):
    """The fields that all steps have."""

    id: str
    digest: str
    preimage: dict[str, Any]
    needs: Annotated[tuple[str, ...], Strict(False)]
    """Ids of the steps whose artifacts this step reads."""
    extent: dict[str, Any] = Field(default_factory=dict)
    """Keys for the number or length of results that a plan wants of this step."""
    route: Route
    processes: int = Field(1, ge=1, le=MOST_AT_ONCE)
    """How many members are made at once, each in its own process; it changes no bit."""
    estimate: Estimate

    @model_validator(mode="after")
    def processes_have_one_thread(self) -> "PlannedStep":
        """Refuse threads in parallel processes: torch's threads do not survive a fork."""
        if self.processes > 1 and self.route.threads > 1:
            raise ValueError("a process among others has one thread")
        return self

    @model_validator(mode="after")
    def named_by_preimage(self) -> "PlannedStep":
        """Refuse a step whose digest is not that of its preimage."""
        if digest(self.preimage) != self.digest:
            raise ValueError("the digest is not that of the preimage")
        return self


def member_preimage(preimage: Preimage, number: int) -> dict[str, Any]:
    """Return the preimage of one member of a step."""
    return {**preimage, "member": number}


def member(preimage: Preimage, number: int) -> Member:
    """Return the member of that number."""
    return Member(number=number, digest=digest(member_preimage(preimage, number)))


class DatasetStep(PlannedStep):
    """Read the real images."""

    kind: Literal["dataset"] = "dataset"
    dataset: Dataset
    facts: DatasetFacts


class ExpertRecipe(Document):
    """How experts are trained; `preimage` identifies all experts of this recipe."""

    preimage: dict[str, Any]
    network: Network
    augmentation: Augmentation
    experts: Experts
    scores: Annotated[tuple[Member, ...], Strict(False)] = ()
    """Scores of the images by single networks, if experts see these in an order."""

    def expert(self, index: int) -> Member:
        """Return the artifact of one expert: as many snapshots as were needed so far."""
        return member(self.preimage, index)


class ExpertMember(Member):
    """One expert and the epochs that it has to run."""

    epochs: int


class ScoresStep(PlannedStep):
    """Score how difficult every real image is, by networks that are trained for some epochs."""

    kind: Literal["scores"] = "scores"
    recipe: ExpertRecipe
    epochs: int
    members: Annotated[tuple[Member, ...], Strict(False)]


class ExpertsStep(PlannedStep):
    """Train experts on the real images, keeping a snapshot after each epoch."""

    kind: Literal["experts"] = "experts"
    recipe: ExpertRecipe
    members: Annotated[tuple[ExpertMember, ...], Strict(False)]


class TrajectoryStep(PlannedStep):
    """Make the path that replaces each expert's trajectory, and keep the few models on it.

    Of a convexified trajectory, these are the waypoints with the length of each epoch's step; of
    a Bezier curve, both ends and the control point. Only the part of `trajectory` that changes
    what is kept is in the digest; later steps read the rest.

    Experts that no other step needs are trained here, and none of their snapshots is kept.
    """

    kind: Literal["trajectory"] = "trajectory"
    recipe: ExpertRecipe
    epochs: int
    """Epochs of each expert."""
    trajectory: Surrogate
    members: Annotated[tuple[Member, ...], Strict(False)]

    @property
    def control_epochs(self) -> int:
        """Return the epochs of training the control point of each curve; 0 without one."""
        return self.trajectory.epochs if isinstance(self.trajectory, BezierTrajectory) else 0

    @property
    def models(self) -> int:
        """Return how many models are kept of each expert."""
        return 3 if isinstance(self.trajectory, BezierTrajectory) else self.trajectory.waypoints


class PathStep(PlannedStep):
    """Test the paths that replace trajectories at every epoch, for the report alone."""

    kind: Literal["path"] = "path"
    trajectory: Surrogate
    members: Annotated[tuple[Member, ...], Strict(False)]


class InitialiseStep(PlannedStep):
    """Make the initial synthetic images and their labels."""

    kind: Literal["initialise"] = "initialise"
    network: Network
    synthetic: Synthetic
    seed: int


class DistillStep(PlannedStep):
    """The outer loop; its members are the synthetic sets of the kept iterations."""

    kind: Literal["distill"] = "distill"
    network: Network
    augmentation: Augmentation
    trajectory: Trajectory
    synthetic: Synthetic
    matching: Matching
    expert_count: int
    expert_epochs: int
    seed: int
    members: Annotated[tuple[Member, ...], Strict(False)]

    @property
    def iterations(self) -> int:
        """Return the iterations of the outer loop; 0 if the initial set is only evaluated."""
        return max(member.number for member in self.members)

    @property
    def trajectory_matching(self) -> TrajectoryMatching:
        """Return the settings of trajectory matching; raise ValueError for another objective."""
        if not isinstance(self.matching, TrajectoryMatching):
            raise ValueError(f"the objective is {self.matching.objective}")
        return self.matching

    @property
    def class_matching(self) -> ClassMatching:
        """Return the settings of an objective that compares classes; ValueError for another."""
        if not isinstance(self.matching, ClassMatching):
            raise ValueError(f"the objective is {self.matching.objective}")
        return self.matching


class EvaluateStep(PlannedStep):
    """Train fresh networks on synthetic sets, or on random real images, and test them.

    Members are numbered by the iteration of the synthetic set; random real images are number 0.
    """

    kind: Literal["evaluate"] = "evaluate"
    subject: Subject
    network_name: NetworkName
    network: JudgingNetwork
    augmentation: Augmentation
    evaluation: Evaluation
    synthetic: Synthetic
    seed: int
    members: Annotated[tuple[Member, ...], Strict(False)]


Step = Annotated[
    DatasetStep
    | ScoresStep
    | ExpertsStep
    | TrajectoryStep
    | PathStep
    | InitialiseStep
    | DistillStep
    | EvaluateStep,
    Discriminator("kind"),
]


StepType = TypeVar("StepType", bound=PlannedStep)


class Plan(Document):
    """Everything that the engine needs to know; steps are in the order in which they run."""

    format: Literal[1] = 1
    language: int
    name: str = Field(pattern=NAME)
    title: str
    digest: str = Field(pattern=DIGEST)
    """Identifies the run: the hash of the digests of all steps and members, and of the choice."""
    compute: Compute
    choose: Choice
    preview: Annotated[tuple[str, ...], Strict(False)] = ()
    """The settings that were shrunk, if this is a preview."""
    measured_rates: bool = False
    """Whether estimates use rates measured on the machine, or round figures."""
    network_parameters: int
    steps: Annotated[tuple[Step, ...], Strict(False)]

    @model_validator(mode="before")
    @classmethod
    def of_an_older_version(cls, values: Any) -> Any:
        """Add what plans of ddspec 0.1.0 do not say."""
        return with_needs(values) if isinstance(values, dict) else values

    @model_validator(mode="after")
    def is_an_experiment(self) -> "Plan":
        """Check the numbers of steps, and that each step comes after those that it needs."""
        kinds = [step.kind for step in self.steps]
        needed = {kind: kinds.count(kind) for kind in ("dataset", "initialise", "distill")}
        if set(needed.values()) != {1} or kinds.count("experts") + kinds.count("trajectory") > 1:
            raise ValueError(f"a plan has one of each, and at most one of experts: {needed}")
        before: set[str] = set()
        for step in self.steps:
            if step.id in before or not before.issuperset(step.needs):
                raise ValueError(f"step {step.id} is there twice, or before one that it needs")
            before.add(step.id)
        return self

    def __repr__(self) -> str:
        return f"<Plan {self.folder}: {len(self.steps)} steps, about {self.seconds:.0f} s>"

    def _repr_html_(self) -> str:
        rows = [
            (
                step.id,
                step.digest[:8],
                f"{step.estimate.seconds:.1f} s",
                f"{step.estimate.memory_bytes / 1e6:.0f} MB",
            )
            for step in self.steps
        ]
        head = ("step", "digest", "estimated time", "estimated memory")
        return html_table(f"Plan {self.folder}", rows, head)

    @property
    def seconds(self) -> float:
        """Return the estimated time of all steps, if nothing is reused."""
        return sum(step.estimate.seconds for step in self.steps)

    def step(self, id: str) -> Step:
        """Return the step with that id; raise KeyError if the plan has none."""
        for step in self.steps:
            if step.id == id:
                return step
        raise KeyError(id)

    def only(self, kind: type[StepType]) -> StepType:
        """Return the only step of a kind that every plan has once."""
        return next(step for step in self.steps if isinstance(step, kind))

    @property
    def dataset(self) -> DatasetStep:
        """Return the step that reads the real images."""
        return self.only(DatasetStep)

    @property
    def initialise(self) -> InitialiseStep:
        """Return the step that makes the first synthetic set."""
        return self.only(InitialiseStep)

    @property
    def distill(self) -> DistillStep:
        """Return the step that runs the outer loop."""
        return self.only(DistillStep)

    @property
    def trajectories(self) -> ExpertsStep | TrajectoryStep | None:
        """Return the step that trains experts; None if no step reads any."""
        return next((s for s in self.steps if isinstance(s, ExpertsStep | TrajectoryStep)), None)

    @property
    def recipe_preimages(self) -> dict[str, Preimage]:
        """Return the preimage of the experts by its digest, which a plan of paths names too."""
        if self.trajectories is None:
            return {}
        preimage = self.trajectories.recipe.preimage
        return {digest(preimage): preimage}

    @property
    def surrogates(self) -> TrajectoryStep | None:
        """Return the step that replaces trajectories; None if they are matched as trained."""
        return next((s for s in self.steps if isinstance(s, TrajectoryStep)), None)

    @property
    def paths(self) -> PathStep | None:
        """Return the step that tests the paths in place of trajectories, if the plan has one."""
        return next((s for s in self.steps if isinstance(s, PathStep)), None)

    @property
    def evaluation_lr(self) -> float | None:
        """Return the learning rate to train on the synthetic set with; None if it was learned."""
        if isinstance(self.distill.matching, TrajectoryMatching):
            return None
        return self.evaluations("distilled")[0].evaluation.lr

    def evaluations(self, subject: Subject) -> list[EvaluateStep]:
        """Return the evaluations of one subject, a step per network."""
        return [s for s in self.steps if isinstance(s, EvaluateStep) and s.subject == subject]

    @property
    def extension_parts(self) -> list[ExtensionPart]:
        """Return the parts of installed extensions that the steps use, each once."""
        distill = self.distill
        loss = getattr(distill.matching, "loss", None)
        nets = [step.network for step in self.steps if isinstance(step, EvaluateStep)]
        used = (self.dataset.dataset.reader, distill.matching, loss, distill.network, *nets)
        found = [part for part in used if isinstance(part, ExtensionPart)]
        parts = {(type(part), part.part): part for part in found}
        return list(parts.values())

    @property
    def folder(self) -> str:
        """Return the name of the run folder."""
        return f"{self.name}-{'preview-' if self.preview else ''}{self.digest[:8]}"
