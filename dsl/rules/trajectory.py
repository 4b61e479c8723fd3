"""Rules on windows and trajectories: every start and every target lies on a trajectory.

A rule takes the spec and what is known of the dataset, and yields diagnostics.
"""

from collections.abc import Callable, Iterator
from functools import wraps

from ddspec.dsl.diagnostics import Diagnostic
from ddspec.dsl.facts.datasets import DatasetFacts
from ddspec.dsl.rules.rule import Rule
from ddspec.dsl.spec.experiment import Spec
from ddspec.dsl.spec.objectives.trajectory import GrowingStarts, TrajectoryMatching
from ddspec.dsl.spec.synthetic import Forgetting
from ddspec.dsl.spec.trajectory import ConvexTrajectory, SgdTrajectory


def about_windows(rule: Callable[[Spec, TrajectoryMatching], Iterator[Diagnostic]]) -> Rule:
    """Return a rule on trajectory matching as a rule on all specs; other objectives pass it."""

    @wraps(rule)
    def checked(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
        if isinstance(spec.matching, TrajectoryMatching):
            yield from rule(spec, spec.matching)

    return checked


@about_windows
def start_range_not_empty(spec: Spec, matching: TrajectoryMatching) -> Iterator[Diagnostic]:
    """The range of start epochs contains at least one epoch."""
    low, high = matching.min_start_epoch, matching.max_start_epoch
    if low >= high:
        yield Diagnostic(
            code="empty-start-range",
            key="matching.min_start_epoch",
            problem=f"no start epoch is at least {low} and below max_start_epoch = {high}",
            hint=f"use at most {high - 1}, or set matching.max_start_epoch = {low + 1}",
            involves=("matching.max_start_epoch",),
        )


@about_windows
def windows_end_within_training(spec: Spec, matching: TrajectoryMatching) -> Iterator[Diagnostic]:
    """Every window ends at or before the experts' last epoch."""
    as_trained = isinstance(spec.trajectory, SgdTrajectory)
    if not as_trained or not has_whole_epochs(matching) or not draws_windows(matching):
        return
    needed, available = matching.last_epoch, spec.experts.epochs
    if needed > available:
        highest = available - int(matching.expert_epochs) + 1
        alternative = f"use at most {highest}, or " if highest >= 1 else ""
        yield Diagnostic(
            code="expert-window-too-long",
            key="matching.max_start_epoch",
            problem=f"the latest window ends at epoch {needed}, "
            f"but experts stop at epoch {available}",
            hint=f"{alternative}set experts.epochs = {needed}",
            involves=("matching.expert_epochs", "experts.epochs", "trajectory"),
        )


@about_windows
def sgd_windows_have_whole_epochs(spec: Spec, matching: TrajectoryMatching) -> Iterator[Diagnostic]:
    """A window on a trajectory of snapshots is a whole number of epochs long."""
    if isinstance(spec.trajectory, SgdTrajectory) and not has_whole_epochs(matching):
        yield Diagnostic(
            code="fractional-expert-epochs",
            key="matching.expert_epochs",
            problem=f"a target {matching.expert_epochs} epochs after its start lies between "
            "two snapshots",
            hint='use a whole number, or set trajectory.type = "convex" or "bezier"',
            involves=("trajectory",),
        )


def draws_windows(matching: TrajectoryMatching) -> bool:
    """Return whether any window is drawn; without iterations there is none."""
    return matching.iterations > 0


def is_replaced(spec: Spec) -> bool:
    """Return whether a path between few models is matched in place of the snapshots."""
    return not isinstance(spec.trajectory, SgdTrajectory)


def has_whole_epochs(matching: TrajectoryMatching) -> bool:
    """Return whether a window is a whole number of epochs long."""
    return matching.expert_epochs.is_integer()


@about_windows
def convex_starts_before_end(spec: Spec, matching: TrajectoryMatching) -> Iterator[Diagnostic]:
    """A window on a convexified trajectory or a Bezier curve starts before its end."""
    high, end = matching.max_start_epoch, spec.experts.epochs
    if is_replaced(spec) and high > end and draws_windows(matching):
        yield Diagnostic(
            code="convex-start-past-end",
            key="matching.max_start_epoch",
            problem=f"starts are drawn up to epoch {high}, but the trajectory ends at epoch {end}",
            hint=f"use at most {end}, or set experts.epochs = {high}",
            involves=("experts.epochs", "trajectory"),
        )


def waypoints_at_distinct_epochs(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """Every waypoint has its own snapshot."""
    trajectory, epochs = spec.trajectory, spec.experts.epochs
    if isinstance(trajectory, ConvexTrajectory) and trajectory.waypoints > epochs + 1:
        yield Diagnostic(
            code="more-waypoints-than-epochs",
            key="trajectory.waypoints",
            problem=f"{trajectory.waypoints} waypoints need as many snapshots, but experts with "
            f"epochs = {epochs} have {epochs + 1}",
            hint=f"use at most {epochs + 1}, or set experts.epochs = {trajectory.waypoints - 1}",
            involves=("experts.epochs",),
        )


def smoothing_has_neighbours(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """Neighbour smoothing needs a snapshot between the first one and the last one."""
    trajectory, epochs = spec.trajectory, spec.experts.epochs
    if isinstance(trajectory, ConvexTrajectory) and trajectory.neighbour_smoothing and epochs < 2:
        yield Diagnostic(
            code="smoothing-needs-neighbours",
            key="trajectory.neighbour_smoothing",
            problem=f"with experts.epochs = {epochs}, the last waypoint would be the mean of both "
            "ends of the trajectory",
            hint="set experts.epochs to at least 2, or neighbour_smoothing = false",
            involves=("experts.epochs",),
        )


def sampled_position_has_one_epoch(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """A position drawn on a convex trajectory belongs to exactly one epoch."""
    trajectory = spec.trajectory
    if not isinstance(trajectory, ConvexTrajectory) or trajectory.sampling != "uniform_lambda":
        return
    reasons = {
        "projected": "two snapshots may project to the same position",
        "path_per_tensor": "every tensor has its own position",
    }
    if trajectory.spacing in reasons:
        yield Diagnostic(
            code="lambda-without-epoch",
            key="trajectory.sampling",
            problem=f'with spacing = "{trajectory.spacing}", {reasons[trajectory.spacing]}, so a '
            "position drawn on the line does not belong to one epoch",
            hint='set sampling = "continuous", or spacing = "path", "uniform" or "decreasing"',
            involves=("trajectory.spacing",),
        )


def forgetting_has_snapshots(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """Initialisation by forgetting needs the snapshots of every epoch."""
    if isinstance(spec.synthetic.init, Forgetting) and is_replaced(spec):
        convex = isinstance(spec.trajectory, ConvexTrajectory)
        kept = "a convex trajectory keeps only its waypoints"
        yield Diagnostic(
            code="convex-has-no-snapshots",
            key="synthetic.init",
            problem='"forgetting" compares consecutive snapshots of expert 0, but '
            + (kept if convex else "a Bezier curve keeps only its ends and its control point"),
            hint='set trajectory.type = "sgd", or choose another init',
            involves=("trajectory",),
        )


@about_windows
def first_bound_within_start_range(
    spec: Spec, matching: TrajectoryMatching
) -> Iterator[Diagnostic]:
    """The first bound of a growing start range lies within the full range."""
    starts, low = matching.start_range, matching.min_start_epoch
    high = matching.max_start_epoch
    if not isinstance(starts, GrowingStarts) or low >= high:
        return  # An empty range has its own rule.
    if not low < starts.first_bound <= high:
        yield Diagnostic(
            code="bound-does-not-grow",
            key="matching.start_range.first_bound",
            problem=f"the first bound {starts.first_bound} is not above min_start_epoch = {low} "
            f"and at most max_start_epoch = {high}",
            hint=f"use a value from {low + 1} to {high}",
            involves=("matching.min_start_epoch", "matching.max_start_epoch"),
        )


@about_windows
def growing_bound_reaches_maximum(spec: Spec, matching: TrajectoryMatching) -> Iterator[Diagnostic]:
    """The bound of a growing start range reaches max_start_epoch during the run."""
    starts, iterations = matching.start_range, matching.iterations
    if isinstance(starts, GrowingStarts) and 0 < iterations < starts.iterations:
        yield Diagnostic(
            code="bound-stops-growing",
            key="matching.start_range.iterations",
            problem=f"the bound grows over {starts.iterations} iterations, "
            f"but the run has {iterations}",
            hint=f"use at most {iterations}, or set matching.iterations = {starts.iterations}",
            severity="warning",
            involves=("matching.iterations",),
        )


@about_windows
def convex_windows_shorter_than_trajectory(
    spec: Spec, matching: TrajectoryMatching
) -> Iterator[Diagnostic]:
    """A window on a convexified trajectory or a Bezier curve is shorter than the whole."""
    length, end = matching.expert_epochs, spec.experts.epochs
    if is_replaced(spec) and length >= end and draws_windows(matching):
        yield Diagnostic(
            code="every-target-is-the-end",
            key="matching.expert_epochs",
            problem=f"from every start, a window of {length:g} epochs reaches the end of the "
            f"trajectory, at epoch {end}",
            hint=f"use less than {end}",
            severity="warning",
            involves=("experts.epochs", "trajectory"),
        )


@about_windows
def intermediate_window_has_whole_epochs(
    spec: Spec, matching: TrajectoryMatching
) -> Iterator[Diagnostic]:
    """Intermediate matching on a path in place of snapshots needs a window of whole epochs."""
    replaced = is_replaced(spec)
    if matching.intermediate is not None and replaced and not has_whole_epochs(matching):
        yield Diagnostic(
            code="fractional-intermediate",
            key="matching.intermediate",
            problem="the student is matched after every whole epoch of the window, but the window "
            f"has {matching.expert_epochs} epochs",
            hint="set matching.expert_epochs to a whole number, or remove matching.intermediate",
            involves=("matching.expert_epochs", "trajectory"),
        )


@about_windows
def intermediate_epochs_within_steps(
    spec: Spec, matching: TrajectoryMatching
) -> Iterator[Diagnostic]:
    """Intermediate matching needs a student step for every epoch of the window."""
    epochs, steps = matching.expert_epochs, matching.syn_steps
    if matching.intermediate is not None and has_whole_epochs(matching) and epochs > steps:
        yield Diagnostic(
            code="more-epochs-than-steps",
            key="matching.intermediate",
            problem=f"the student is matched after each of {int(epochs)} epochs, but it takes only "
            f"{steps} {'step' if steps == 1 else 'steps'}",
            hint=f"set matching.syn_steps to at least {int(epochs)}, "
            "or remove matching.intermediate",
            involves=("matching.expert_epochs", "matching.syn_steps"),
        )


@about_windows
def intermediate_matches_last_step(
    spec: Spec, matching: TrajectoryMatching
) -> Iterator[Diagnostic]:
    """With intermediate matching, the target is matched at the last student step."""
    if matching.intermediate is not None and matching.matched_step == "nearest":
        yield Diagnostic(
            code="nearest-with-intermediate",
            key="matching.intermediate",
            problem='with matched_step = "nearest", the target may be matched before the '
            "intermediate steps are reached",
            hint='set matched_step = "last", or remove matching.intermediate',
            involves=("matching.matched_step",),
        )
