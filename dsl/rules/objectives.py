"""Rules on objectives, above all on those that match no trajectories.

A rule takes the spec and what is known of the dataset, and yields diagnostics.
"""

from collections.abc import Callable, Iterator
from functools import wraps

from ddspec.dsl.diagnostics import Diagnostic
from ddspec.dsl.facts.datasets import DatasetFacts
from ddspec.dsl.rules.rule import Rule
from ddspec.dsl.spec.experiment import Spec
from ddspec.dsl.spec.network import ConvNet
from ddspec.dsl.spec.objectives.classes import ClassMatching, DynamicSchedule, FeatureMatching
from ddspec.dsl.spec.objectives.kernel import Kernel
from ddspec.dsl.spec.objectives.performance import Performance
from ddspec.dsl.spec.objectives.trajectory import TrajectoryMatching
from ddspec.dsl.spec.synthetic import (
    ExpertLabels,
    Hard,
    Images,
    Imported,
    LrDrops,
    RegressionLabels,
    StudentLr,
)
from ddspec.dsl.spec.trajectory import SgdTrajectory


def without_trajectories(rule: Callable[[Spec], Iterator[Diagnostic]]) -> Rule:
    """Return a rule on the other objectives as one on all specs; trajectory matching passes it."""

    @wraps(rule)
    def checked(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
        if not isinstance(spec.matching, TrajectoryMatching):
            yield from rule(spec)

    return checked


@without_trajectories
def evaluation_has_lr(spec: Spec) -> Iterator[Diagnostic]:
    """Evaluation networks have a learning rate, which these objectives do not learn."""
    if not spec.evaluation.has_lr:
        yield Diagnostic(
            code="no-lr-to-evaluate-with",
            key="evaluation",
            problem=f'objective "{spec.matching.objective}" learns no student_lr with which '
            "evaluation networks could be trained",
            hint="add lr = 0.01 in [evaluation], as in the public code of DC, DSA, DM and CAFE",
            involves=("matching.objective",),
        )


@without_trajectories
def student_lr_not_set(spec: Spec) -> Iterator[Diagnostic]:
    """These objectives have no student_lr."""
    if spec.synthetic.student_lr != StudentLr():
        students = {"student": "matching.student.lr", "student_lr": "matching.student_lr"}
        own = [key for name, key in students.items() if hasattr(spec.matching, name)]
        instead = " or ".join([*own, "evaluation.lr"])
        yield Diagnostic(
            code="student-lr-of-trajectories",
            key="synthetic.student_lr",
            problem=f'objective "{spec.matching.objective}" has no learned student_lr, so this key '
            "has no effect",
            hint=f"remove it; a learning rate is set by {instead}",
            involves=("matching.objective",),
        )


@without_trajectories
def labels_fit_objective(spec: Spec) -> Iterator[Diagnostic]:
    """Images that are compared by class belong to one; no target gives labels to a student."""
    labels, matching = spec.synthetic.labels, spec.matching
    problem, instead = "", '"hard"'
    if isinstance(matching, Kernel) or isinstance(labels, RegressionLabels):
        return  # `regression_has_targets` says which labels fit.
    if isinstance(matching, ClassMatching) and not isinstance(labels, Hard):
        problem = f'compares the images of each class, but "{labels.name}" labels give no image to '
        problem += "one class"
    elif isinstance(labels, ExpertLabels):
        problem = "has no target on a trajectory that could label the images"
        instead = '"hard" or "learned"'
    if problem:
        yield Diagnostic(
            code="labels-of-trajectories",
            key="synthetic.labels",
            problem=f'objective "{matching.objective}" {problem}',
            hint=f'set labels = {instead}, or matching.objective = "trajectory"',
            involves=("matching.objective",),
        )


def regression_has_targets(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """Targets of a regression are learned by kernel regression, and by nothing else."""
    labels, matching = spec.synthetic.labels, spec.matching
    by_kernel, has_own = isinstance(matching, Kernel), isinstance(spec.synthetic.init, Imported)
    if by_kernel == isinstance(labels, RegressionLabels) or has_own:
        return
    yield Diagnostic(
        code="labels-of-a-regression",
        key="synthetic.labels" if not by_kernel else "synthetic",
        problem=f'objective "kernel" learns the targets of a regression, not "{labels.name}" labels'
        if by_kernel
        else f'objective "{matching.objective}" teaches networks by cross-entropy, which needs '
        "classes or weights of classes, not targets of a regression",
        hint='set labels = { name = "regression", lr = 3e-4 }, as FRePo does'
        if by_kernel
        else 'set labels = "hard", or matching.objective = "kernel"',
        involves=("matching.objective",),
    )


def squared_error_has_targets(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """Targets of a regression are taught by the squared error, other soft labels are not."""
    labels, protocol = spec.synthetic.labels, spec.evaluation.protocol
    if isinstance(labels, RegressionLabels) and protocol != "frepo":
        yield Diagnostic(
            code="protocol-of-a-regression",
            key="evaluation",
            problem=f'"regression" labels are no weights of classes, but protocol "{protocol}" '
            "trains networks by cross-entropy",
            hint='set evaluation.protocol = "frepo", which reduces the squared error',
            involves=("synthetic.labels",),
        )
    elif protocol == "frepo" and not isinstance(labels, RegressionLabels | Hard):
        yield Diagnostic(
            code="protocol-of-a-regression",
            key="evaluation.protocol",
            problem=f'"{labels.name}" labels are weights of classes, but protocol "frepo" reduces '
            "the squared error to the targets of a regression",
            hint='choose another protocol, such as "mtt"',
            involves=("synthetic.labels",),
        )


@without_trajectories
def trajectory_not_replaced(spec: Spec) -> Iterator[Diagnostic]:
    """No trajectory is matched, so none is convexified or replaced by a curve."""
    if not isinstance(spec.trajectory, SgdTrajectory):
        yield Diagnostic(
            code="trajectory-not-matched",
            key="trajectory",
            problem=f'objective "{spec.matching.objective}" matches no trajectory, so this table '
            "has no effect",
            hint='remove [trajectory], or set matching.objective = "trajectory"',
            involves=("matching.objective",),
        )


@without_trajectories
def images_lr_fits_objective(spec: Spec) -> Iterator[Diagnostic]:
    """The learning rate of the pixels is not the default, which is that of MTT."""
    if spec.synthetic.images.lr == Images().lr:
        yield Diagnostic(
            code="lr-of-trajectory-matching",
            key="synthetic.images",
            problem=f"a learning rate of {Images().lr:g} for the pixels is the default, which is "
            "made for trajectory matching",
            hint="add images = { lr = ... }: 0.1 in DC, DSA and CAFE, 1 in DM, 0.001 with "
            'optimizer = "adam" in RaT-BPTT',
            severity="warning",
            involves=("matching.objective",),
        )


def gradient_limit_given_once(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """The limit on the gradient is a norm, or a multiple of its average."""
    limit = spec.matching.gradient_limit
    if limit is not None and (limit.norm is None) == (limit.over_mean is None):
        both = limit.norm is not None
        yield Diagnostic(
            code="one-gradient-limit",
            key="matching.gradient_limit",
            problem="the limit is given twice" if both else "the limit is not given",
            hint="remove norm or over_mean" if both else "add norm = ... or over_mean = 2.0",
        )


def syn_per_class_within_ipc(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """A student step has at most as many images of a class as there are."""
    matching, ipc = spec.matching, spec.synthetic.seen_ipc
    if isinstance(matching, Performance) and (matching.syn_per_class or 0) > ipc:
        yield Diagnostic(
            code="batch-larger-than-synthetic-set",
            key="matching.syn_per_class",
            problem=f"{matching.syn_per_class} images of each class per student step, but the "
            f"synthetic set has {ipc}",
            hint=f"use at most {ipc}, or remove the key to take all of them",
            involves=("synthetic.ipc",),
        )


def free_steps_in_order(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """The fewest free steps are not above the most."""
    matching = spec.matching
    if isinstance(matching, Performance) and matching.free_steps.least > matching.free_steps.most:
        yield Diagnostic(
            code="free-steps-out-of-order",
            key="matching.free_steps",
            problem=f"at least {matching.free_steps.least} free steps, but at most "
            f"{matching.free_steps.most}",
            hint=f"use least = {matching.free_steps.most} for a window at a fixed place",
        )


def siamese_has_real_images(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """One draw for real and synthetic images needs an objective that compares them."""
    if spec.augmentation.siamese and not isinstance(spec.matching, ClassMatching):
        yield Diagnostic(
            code="siamese-without-real-images",
            key="augmentation.siamese",
            problem=f'objective "{spec.matching.objective}" compares no real images with synthetic '
            "ones, so they cannot share a draw",
            hint="remove the key, or choose another matching.objective",
            involves=("matching.objective",),
        )


def layers_have_weights(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """Feature matching knows the layers of a ConvNet and has a weight for each."""
    matching = spec.matching
    if not isinstance(matching, FeatureMatching):
        return
    if not isinstance(spec.network, ConvNet):
        yield Diagnostic(
            code="feature-needs-convnet",
            key="network.name",
            problem='objective "feature" matches the layers of a ConvNet; those of '
            f'"{spec.network.name}" are not defined',
            hint='set network.name = "convnet", or choose another matching.objective',
            involves=("matching.objective",),
        )
        return
    layers = spec.network.depth + 1
    if matching.layer_weights is not None and len(matching.layer_weights) != layers:
        yield Diagnostic(
            code="layer-weights-count",
            key="matching.layer_weights",
            problem=f"{len(matching.layer_weights)} weights, but a ConvNet of "
            f"{spec.network.depth} blocks has {layers} layers to match: each block before its "
            "pooling, and the last pooling",
            hint=f"give {layers} weights, or remove the key",
            involves=("network.depth",),
        )


def schedule_fits_its_window(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """The bounds of a dynamic schedule leave room for its window."""
    matching = spec.matching
    if not isinstance(matching, FeatureMatching):
        return
    schedule = matching.schedule
    if not isinstance(schedule, DynamicSchedule):
        return
    for name in ("max_pixel_steps", "max_network_epochs"):
        most = getattr(schedule, name)
        if most < schedule.window:
            yield Diagnostic(
                code="window-above-bound",
                key=f"matching.schedule.{name}",
                problem=f"at most {most} steps, but {schedule.window} accuracies are needed before "
                "the schedule decides anything",
                hint=f"use at least {schedule.window}, or lower matching.schedule.window",
                involves=("matching.schedule.window",),
            )


def images_momentum_used(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """Only SGD has a momentum to set."""
    images = spec.synthetic.images
    if images.optimizer.name != "sgd" and images.momentum != Images().momentum:
        yield Diagnostic(
            code="momentum-without-sgd",
            key="synthetic.images.momentum",
            problem=f'optimizer "{images.optimizer.name}" does not read this key',
            hint="remove it, or set optimizer.beta1, which takes its place",
            involves=("synthetic.images.optimizer",),
        )


def images_lr_decay_within_run(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """The learning rate of the pixels drops in rising order, before the last iteration."""
    decay, iterations = spec.synthetic.images.lr_decay, spec.matching.iterations
    if not isinstance(decay, LrDrops):
        return
    if list(decay.iterations) != sorted(set(decay.iterations)):
        yield Diagnostic(
            code="decay-not-rising",
            key="synthetic.images.lr_decay.iterations",
            problem="the iterations are not in rising order, each once",
            hint=f"write {sorted(set(decay.iterations))}",
        )
    elif 0 < iterations <= decay.iterations[-1]:
        yield Diagnostic(
            code="decay-after-the-end",
            key="synthetic.images.lr_decay.iterations",
            problem=f"the learning rate drops after {decay.iterations[-1]} iterations, but the run "
            f"has {iterations}",
            hint=f"use iterations below {iterations}, or raise matching.iterations",
            severity="warning",
            involves=("matching.iterations",),
        )
