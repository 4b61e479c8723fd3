"""Rules on windows and trajectories: every start and target lies where the experts went.

A rule takes the spec and what is known of the dataset and yields diagnostics.
"""

from collections.abc import Iterator

from ddspec.dsl.diagnostics import Diagnostic
from ddspec.dsl.facts.datasets import DatasetFacts
from ddspec.dsl.spec.experiment import Spec
from ddspec.dsl.spec.matching import GrowingStarts
from ddspec.dsl.spec.synthetic import Forgetting
from ddspec.dsl.spec.trajectory import ConvexTrajectory, SgdTrajectory


def start_range(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """There is at least one start epoch."""
    low, high = spec.matching.min_start_epoch, spec.matching.max_start_epoch
    if low >= high:
        yield Diagnostic(
            code="empty-start-range",
            key="matching.min_start_epoch",
            problem=f"no epoch is at least {low} and below max_start_epoch = {high}",
            hint=f"at most {high - 1} here, or matching.max_start_epoch = {low + 1}",
            involves=("matching.max_start_epoch",),
        )


def window(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """The target of every window lies on the trajectory that the experts run."""
    as_trained = isinstance(spec.trajectory, SgdTrajectory)
    if not as_trained or not whole_epochs(spec) or not matches(spec):
        return
    needed, there = spec.expert_epochs_needed, spec.experts.epochs
    if needed > there:
        fitting = there - int(spec.matching.expert_epochs) + 1
        way_out = f"at most {fitting} here, or " if fitting >= 1 else ""
        yield Diagnostic(
            code="expert-window-too-long",
            key="matching.max_start_epoch",
            problem=f"the latest window ends at epoch {needed}, but experts stop at epoch {there}",
            hint=f"{way_out}experts.epochs = {needed}",
            involves=("matching.expert_epochs", "experts.epochs", "trajectory"),
        )


def fractional_window(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """Only a convex trajectory has a point between two epochs."""
    if isinstance(spec.trajectory, SgdTrajectory) and not whole_epochs(spec):
        yield Diagnostic(
            code="fractional-expert-epochs",
            key="matching.expert_epochs",
            problem=f"{spec.matching.expert_epochs} epochs ahead lies between two snapshots",
            hint='a whole number, or trajectory.type = "convex"',
            involves=("trajectory",),
        )


def matches(spec: Spec) -> bool:
    """Whether any window is drawn: a coreset alone draws none."""
    return spec.matching.iterations > 0


def whole_epochs(spec: Spec) -> bool:
    """Whether the window is a whole number of epochs."""
    return spec.matching.expert_epochs.is_integer()


def convex_start(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """A window along a convex trajectory starts before the trajectory's end."""
    high, end = spec.matching.max_start_epoch, spec.experts.epochs
    if isinstance(spec.trajectory, ConvexTrajectory) and high > end and matches(spec):
        yield Diagnostic(
            code="convex-start-past-end",
            key="matching.max_start_epoch",
            problem=f"starts are drawn up to epoch {high}, but the trajectory ends at {end}",
            hint=f"at most {end} here, or experts.epochs = {high}",
            involves=("experts.epochs", "trajectory"),
        )


def waypoints_apart(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """Waypoints lie at different epochs."""
    trajectory, epochs = spec.trajectory, spec.experts.epochs
    if isinstance(trajectory, ConvexTrajectory) and trajectory.waypoints > epochs + 1:
        yield Diagnostic(
            code="more-waypoints-than-epochs",
            key="trajectory.waypoints",
            problem=f"{trajectory.waypoints} waypoints, but experts of {epochs} epochs have "
            f"{epochs + 1} snapshots",
            hint=f"at most {epochs + 1} here",
            involves=("experts.epochs",),
        )


def neighbours_there(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """Neighbour smoothing takes no mean over the waypoint's own neighbours twice."""
    trajectory, epochs = spec.trajectory, spec.experts.epochs
    if isinstance(trajectory, ConvexTrajectory) and trajectory.neighbour_smoothing and epochs < 2:
        yield Diagnostic(
            code="smoothing-needs-neighbours",
            key="trajectory.neighbour_smoothing",
            problem="with experts of one epoch the end would be the mean of both ends",
            hint="at least experts.epochs = 2, or neighbour_smoothing = false",
            involves=("experts.epochs",),
        )


def invertible_spacing(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """A place on the line belongs to one epoch."""
    trajectory = spec.trajectory
    if not isinstance(trajectory, ConvexTrajectory) or trajectory.sampling != "uniform_lambda":
        return
    reasons = {
        "projected": "snapshots may project to the same place twice",
        "path_per_tensor": "each tensor has a place of its own",
    }
    if trajectory.spacing in reasons:
        yield Diagnostic(
            code="lambda-without-epoch",
            key="trajectory.sampling",
            problem=f'with spacing "{trajectory.spacing}" {reasons[trajectory.spacing]}, so that a '
            "place drawn on the line belongs to no one epoch",
            hint='sampling = "continuous", or spacing = "path", "uniform" or "decreasing"',
            involves=("trajectory.spacing",),
        )


def snapshots_kept(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """A convexified trajectory has no single snapshots to look at."""
    if isinstance(spec.synthetic.init, Forgetting) and isinstance(
        spec.trajectory, ConvexTrajectory
    ):
        yield Diagnostic(
            code="convex-has-no-snapshots",
            key="synthetic.init",
            problem='"forgetting" counts what expert 0 forgets from snapshot to snapshot, but a '
            "convex trajectory keeps none between its waypoints",
            hint='trajectory.type = "sgd", or another init',
            involves=("trajectory",),
        )


def growing_range(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """The first bound lies inside the range that it grows to."""
    starts, low = spec.matching.start_range, spec.matching.min_start_epoch
    high = spec.matching.max_start_epoch
    if isinstance(starts, GrowingStarts) and not low < starts.first_bound <= high:
        yield Diagnostic(
            code="bound-does-not-grow",
            key="matching.start_range.first_bound",
            problem=f"the first bound {starts.first_bound} is not above min_start_epoch = {low} "
            f"and at most max_start_epoch = {high}",
            hint=f"from {low + 1} to {high} here",
            involves=("matching.min_start_epoch", "matching.max_start_epoch"),
        )


def bound_grows_to_its_end(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """The growing bound arrives at max_start_epoch, up to which experts are trained."""
    starts, iterations = spec.matching.start_range, spec.matching.iterations
    if isinstance(starts, GrowingStarts) and 0 < iterations < starts.iterations:
        yield Diagnostic(
            code="bound-stops-growing",
            key="matching.start_range.iterations",
            problem=f"the bound grows over {starts.iterations} iterations, {iterations} are run",
            hint=f"at most {iterations} here",
            severity="warning",
            involves=("matching.iterations",),
        )


def window_on_the_line(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """On a convexified trajectory not every target is its end."""
    ahead, end = spec.matching.expert_epochs, spec.experts.epochs
    if isinstance(spec.trajectory, ConvexTrajectory) and ahead >= end and matches(spec):
        yield Diagnostic(
            code="every-target-is-the-end",
            key="matching.expert_epochs",
            problem=f"{ahead:g} epochs ahead of any start lies the end of the trajectory, at {end}",
            hint=f"below {end} here",
            severity="warning",
            involves=("experts.epochs", "trajectory"),
        )


def intermediate_points(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """Intermediate matching has whole epochs, a student step for each, and one end."""
    if spec.matching.intermediate is None:
        return
    epochs, steps = spec.matching.expert_epochs, spec.matching.syn_steps
    if not whole_epochs(spec):
        if isinstance(spec.trajectory, ConvexTrajectory):
            yield Diagnostic(
                code="fractional-intermediate",
                key="matching.intermediate",
                problem=f"it matches after each whole epoch, but the window has {epochs}",
                hint="a whole matching.expert_epochs, or no intermediate matching",
                involves=("matching.expert_epochs", "trajectory"),
            )
    elif epochs > steps:
        yield Diagnostic(
            code="more-epochs-than-steps",
            key="matching.intermediate",
            problem=f"{int(epochs)} epochs are met one after the other, but a student has {steps} "
            "steps",
            hint=f"at least {int(epochs)} syn_steps, or no intermediate matching",
            involves=("matching.expert_epochs", "matching.syn_steps"),
        )
    if spec.matching.matched_step == "nearest":
        yield Diagnostic(
            code="nearest-with-intermediate",
            key="matching.intermediate",
            problem='matched_step = "nearest" may match before the intermediate points are reached',
            hint='matched_step = "last", or no intermediate matching',
            involves=("matching.matched_step",),
        )
