"""Rules across keys: what each key allows alone, but the experiment as a whole does not.

A rule takes the spec and what is known of the dataset and yields diagnostics; `CHECKS` is the
order. A rule about the dataset is silent where it is not known yet; it runs again when the
images have been read.
"""

from collections.abc import Callable, Iterator

from ddspec.dsl.datasets import KNOWN, DatasetFacts
from ddspec.dsl.diagnostics import Diagnostic
from ddspec.dsl.matching_table import GrowingStarts
from ddspec.dsl.sizes import NORM_GROUPS, deepest
from ddspec.dsl.spec import Spec
from ddspec.dsl.synthetic_table import Correct, Forgetting, LearnedLabels, Representative
from ddspec.dsl.trajectory_table import ConvexTrajectory, SgdTrajectory

Rule = Callable[[Spec, DatasetFacts | None], Iterator[Diagnostic]]


def check(spec: Spec, facts: DatasetFacts | None = None) -> Iterator[Diagnostic]:
    """Every finding of every rule."""
    facts = facts or KNOWN.get(spec.dataset.name)
    for rule in CHECKS:
        yield from rule(spec, facts)


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
    if not isinstance(spec.trajectory, SgdTrajectory) or not whole_epochs(spec):
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


def whole_epochs(spec: Spec) -> bool:
    """Whether the window is a whole number of epochs."""
    return spec.matching.expert_epochs.is_integer()


def convex_start(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """A window along a convex trajectory starts before the trajectory's end."""
    high, end = spec.matching.max_start_epoch, spec.experts.epochs
    if isinstance(spec.trajectory, ConvexTrajectory) and high > end:
        yield Diagnostic(
            code="convex-start-past-end",
            key="matching.max_start_epoch",
            problem=f"starts are drawn up to epoch {high}, but the trajectory ends at {end}",
            hint=f"at most {end} here, or experts.epochs = {high}",
            involves=("experts.epochs", "trajectory"),
        )


def synthetic_batch(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """A student's batch is no larger than the synthetic set."""
    batch = spec.matching.batch_syn
    if facts is None or batch is None:
        return
    size = spec.synthetic.ipc * facts.classes
    if batch > size:
        yield Diagnostic(
            code="batch-larger-than-synthetic-set",
            key="matching.batch_syn",
            problem=f"a batch of {batch}, but the synthetic set has {size} images "
            f"({facts.classes} classes x {spec.synthetic.ipc})",
            hint=f"at most {size} here; left out, every step takes all images",
            involves=("dataset", "synthetic.ipc"),
        )


def network_depth(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """Pooling leaves at least one pixel."""
    if facts is None or spec.network.pooling == "none":
        return
    most = deepest(facts.height, facts.width)
    if spec.network.depth > most:
        yield Diagnostic(
            code="network-too-deep",
            key="network.depth",
            problem=f"{spec.network.depth} blocks halve an image of "
            f"{facts.height}x{facts.width} pixels {spec.network.depth} times, "
            f"but it can be halved {most} times",
            hint=f'at most {most} here, or network.pooling = "none"',
            involves=("dataset", "network.pooling"),
        )


def group_norm_width(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """Group norm splits the channels evenly."""
    width = spec.network.width
    if spec.network.norm == "group" and width % NORM_GROUPS:
        fitting = -(-width // NORM_GROUPS) * NORM_GROUPS
        yield Diagnostic(
            code="width-not-divisible",
            key="network.width",
            problem=f"{width} channels cannot be split into {NORM_GROUPS} equal groups",
            hint=f"a multiple of {NORM_GROUPS}, for example {fitting}",
            involves=("network.norm",),
        )


def images_per_class(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """Every class has the real images that initialisation and the random baseline draw."""
    if facts is None:
        return
    fewest = min(facts.train_per_class)
    if spec.synthetic.ipc > fewest:
        poorest = facts.class_names[facts.train_per_class.index(fewest)]
        yield Diagnostic(
            code="more-images-than-class-has",
            key="synthetic.ipc",
            problem=f"{spec.synthetic.ipc} images per class, but class {poorest!r} has "
            f"{fewest} training images to draw from",
            hint=f"at most {fewest} here",
            involves=("dataset",),
        )


def folder_root(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """A folder has a name below the data folder; other datasets have none."""
    root, is_folder = spec.dataset.root, spec.dataset.name == "folder"
    if is_folder and root is None:
        yield Diagnostic(
            code="folder-without-root",
            key="dataset.name",
            problem='dataset "folder" does not say which folder',
            hint='add root = "NAME" in [dataset]; the images lie in NAME below --data',
            involves=("dataset.root",),
        )
    if root is not None and not is_folder:
        yield Diagnostic(
            code="root-without-folder",
            key="dataset.root",
            problem=f'dataset "{spec.dataset.name}" has a place of its own',
            hint='remove root, or use name = "folder"',
            involves=("dataset.name",),
        )
    if root is not None and not all(c.isalnum() or c in "._- " for c in root.replace("/", "_")):
        yield bad_root(root, "holds characters that a folder name here may not have")
    elif root is not None and any(part in ("", ".", "..") for part in root.split("/")):
        yield bad_root(root, "leads out of the data folder")


def bad_root(root: str, problem: str) -> Diagnostic:
    """A folder name that a spec may not carry."""
    return Diagnostic(
        code="root-escapes",
        key="dataset.root",
        problem=f"{root!r} {problem}",
        hint="a plain name below the data folder, such as my_images; --data says where that is",
    )


def expected_network(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """What a source reports was measured with a network that this spec evaluates."""
    for index, expected in enumerate(spec.expect):
        if expected.network not in spec.evaluation.networks:
            yield Diagnostic(
                code="expectation-not-evaluated",
                key=f"expect[{index + 1}].network",
                problem=f'"{expected.network}" is not among evaluation.networks',
                hint=f'add "{expected.network}" to evaluation.networks',
                involves=("evaluation.networks",),
            )


def distinct_networks(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """No network is evaluated twice."""
    names = spec.evaluation.networks
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        yield Diagnostic(
            code="network-named-twice",
            key="evaluation.networks",
            problem=f'"{twice}" stands there {names.count(twice)} times',
            hint="name each network once; evaluation.repeats says how many of it are trained",
        )


def kept_sets(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """The synthetic sets that are kept and evaluated can be counted and stored."""
    iterations, every = spec.matching.iterations, spec.evaluation.every
    if iterations / every > MOST_KEPT_SETS:
        yield Diagnostic(
            code="too-many-evaluations",
            key="evaluation.every",
            problem=f"{iterations} iterations would be evaluated {iterations // every} times, "
            f"at most {MOST_KEPT_SETS} are possible",
            hint=f"at least {-(-iterations // MOST_KEPT_SETS)} here",
            involves=("matching.iterations",),
        )


MOST_KEPT_SETS = 10_000


def unreachable_decay(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """A drop of the experts' rate happens while they train."""
    decay = spec.experts.lr_decay
    if decay is not None and decay.epoch >= spec.experts.epochs:
        yield Diagnostic(
            code="decay-after-the-end",
            key="experts.lr_decay",
            problem=f"the rate drops after {decay.epoch} epochs, but experts stop at "
            f"epoch {spec.experts.epochs}",
            hint=f"an epoch below {spec.experts.epochs}, or remove the key",
            severity="warning",
            involves=("experts.epochs",),
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


def experts_there(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """Experts that initialisation or labels ask for are trained."""
    count = spec.experts.count
    init, labels = spec.synthetic.init, spec.synthetic.labels
    if isinstance(init, Representative) and init.expert >= count:
        yield no_such_expert(
            "synthetic.init.expert", f"expert {init.expert} is asked for", count - 1, count
        )
    if isinstance(init, Correct) and init.experts > count:
        yield no_such_expert("synthetic.init.experts", f"{init.experts} are asked", count, count)
    if isinstance(labels, LearnedLabels) and labels.experts > count:
        yield no_such_expert(
            "synthetic.labels.experts", f"{labels.experts} are asked", count, count
        )


def no_such_expert(key: str, asked: str, most: int, count: int) -> Diagnostic:
    """More experts are asked for than there are."""
    return Diagnostic(
        code="no-such-expert",
        key=key,
        problem=f"{asked}, but there are {count} experts, counted from 0",
        hint=f"at most {most} here, or more experts.count",
        involves=("experts.count",),
    )


def clusters_filled(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """Every centre of k-means stands for an image."""
    init, ipc = spec.synthetic.init, spec.synthetic.ipc
    if isinstance(init, Representative) and init.clusters is not None and init.clusters > ipc:
        yield Diagnostic(
            code="more-clusters-than-images",
            key="synthetic.init.clusters",
            problem=f"{init.clusters} clusters per class, but {ipc} images per class: "
            "some centres would get none",
            hint=f"at most {ipc} here; left out, it is {min(ipc, 10)}",
            involves=("synthetic.ipc",),
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


def loss_reaches_one(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """The weight of the clipped loss becomes 1 while experts train."""
    clipped, epochs = spec.experts.smoothing.clipped_loss, spec.experts.epochs
    if clipped is not None and clipped.epochs >= epochs:
        yield Diagnostic(
            code="clipped-to-the-end",
            key="experts.smoothing.clipped_loss",
            problem=f"the loss has its full weight from epoch {clipped.epochs} on, but experts "
            f"stop at epoch {epochs}",
            hint=f"epochs below {epochs}",
            severity="warning",
            involves=("experts.epochs",),
        )


CHECKS: tuple[Rule, ...] = (
    start_range,
    fractional_window,
    window,
    convex_start,
    synthetic_batch,
    network_depth,
    group_norm_width,
    images_per_class,
    folder_root,
    expected_network,
    distinct_networks,
    kept_sets,
    unreachable_decay,
    waypoints_apart,
    neighbours_there,
    invertible_spacing,
    snapshots_kept,
    experts_there,
    clusters_filled,
    intermediate_points,
    growing_range,
    loss_reaches_one,
)
