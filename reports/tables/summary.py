"""The head of a run's page: the result and the setting."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, assert_never

from ddspec.dsl.keys.extension import ExtensionNetwork
from ddspec.dsl.plan.steps import DatasetStep, DistillStep, ExpertsStep, TrajectoryStep
from ddspec.dsl.record.record import Accuracy, Record, WarningSign
from ddspec.dsl.record.results import accuracy_of
from ddspec.dsl.record.statistics import half_interval, welch
from ddspec.dsl.record.synthetic_set import ImportedSet
from ddspec.dsl.spec.experts import Sgd
from ddspec.dsl.spec.matching import Matching
from ddspec.dsl.spec.network import ConvNet, PlainNetwork, TrainedNetwork
from ddspec.dsl.spec.objectives.classes import (
    DistributionMatching,
    ExtensionMatching,
    FeatureMatching,
    GradientMatching,
)
from ddspec.dsl.spec.objectives.kernel import Kernel
from ddspec.dsl.spec.objectives.performance import FreeSteps, Performance
from ddspec.dsl.spec.objectives.trajectory import TrajectoryMatching
from ddspec.reports.format import PLUS_MINUS, fixed, ipc_words, parts_per_side, plural, signed
from ddspec.reports.tables.results import (
    CHOICES,
    ExpectationRow,
    expectation_rows,
)


@dataclass(frozen=True)
class Summary:
    """The head of the page."""

    mean: str
    std: str
    n: int
    network: str
    choice: str
    iteration: str
    interval: str
    gain: str
    """Difference to random real images in points, with its interval; empty without a baseline."""
    baseline: str
    gain_over_initial: str
    """Difference to the run's own initial set in points; empty if that is the result."""
    initial: str
    expectations: tuple[ExpectationRow, ...]
    whole: str
    """"whole " if the random real images are, but the synthetic ones hold several each."""
    departures: str
    """Settings that options changed in a spec of published numbers, in words."""
    status: str
    outcome: str


def summary_of(record: Record) -> Summary:
    """Return the result, its baseline, and how the run ended."""
    accuracy = record.results.accuracy
    common = {
        "whole": "whole " if parts_per_side(record) > 1 else "",
        "departures": departure_words(record),
        "status": record.outcome.status,
        "outcome": outcome_words(record),
    }
    expectations = tuple(expectation_rows(record.compared))
    if accuracy is None:
        return Summary("", "", 0, "", "", "", "", "", "", "", "", expectations, **common)
    baseline = record.results.random_real.get(accuracy.network)
    initial, half = initial_accuracy(record, accuracy), half_interval(accuracy)
    return Summary(
        mean=fixed(accuracy.mean, 1),
        std=fixed(accuracy.std, 1) if accuracy.n > 1 else "",
        n=accuracy.n,
        network=accuracy.network,
        choice=CHOICES[accuracy.choose],
        iteration=f"{accuracy.iteration:,}",
        interval="" if half is None or half > 50 else fixed(half, 1),
        gain=gain_words(accuracy, baseline),
        baseline="" if baseline is None else fixed(baseline.mean, 1),
        gain_over_initial=gain_words(accuracy, initial),
        initial="" if initial is None else fixed(initial.mean, 1),
        expectations=expectations,
        **common,
    )


MOST_DEPARTURES = 12
"""Most departures that a sentence names."""


def departure_words(record: Record) -> str:
    """Return the settings that options changed, each with the value of the spec."""
    words = [
        f"{departure.key} to {departure.value} (spec: {departure.in_spec})"
        for departure in record.departures[:MOST_DEPARTURES]
    ]
    more = len(record.departures) - len(words)
    return ", ".join([*words, *([f"and {more} more"] if more else [])])


def initial_accuracy(record: Record, accuracy: Accuracy) -> Accuracy | None:
    """Return the accuracy of the set before distillation; None if it is the result itself."""
    if accuracy.iteration == 0:
        return None
    return next(
        (
            accuracy_of(evaluated, "none")
            for evaluated in record.evaluations
            if (evaluated.subject, evaluated.network) == ("distilled", accuracy.network)
            and evaluated.iteration == 0
            and evaluated.values
        ),
        None,
    )


def gain_words(accuracy: Accuracy, other: Accuracy | None) -> str:
    """Return a difference in points with its 95 % interval by Welch; empty without another."""
    if other is None:
        return ""
    tested, gain = welch(accuracy, other), signed(accuracy.mean - other.mean, 1)
    return gain if tested is None else f"{gain} {PLUS_MINUS} {fixed(tested.half, 1)}"


def signs_words(warnings: Sequence[WarningSign]) -> str:
    """Return the signs that a run failed, in a few words each; empty without a sign."""
    return ", ".join(sign.kind.replace("_", " ") for sign in warnings)


def outcome_words(record: Record) -> str:
    """Return in a sentence how the run ended."""
    outcome, planned = record.outcome, record.plan.distill.matching.iterations
    at = "" if outcome.iteration is None else f" at iteration {outcome.iteration:,}"
    match outcome.status:
        case "done" if planned == 0 and record.imported_set is not None:
            return "Done: the imported set was evaluated as it is."
        case "done" if planned == 0:
            return "Done: the initial set was evaluated, without distillation."
        case "done":
            return f"Done: all {plural(planned, 'iteration')} ran."
        case "diverged" if planned == 0:
            return "Ended before the initial set was made."
        case "diverged":
            where = (
                f"{at} of {planned:,}" if at else f" before the {planned:,} iterations were done"
            )
            return f"Diverged{where}."
        case "interrupted":
            return f"Interrupted before the {planned:,} iterations and their evaluation were done."
        case "failed":
            return f"Failed{at or f' before the {planned:,} iterations were done'}."


def facts(record: Record) -> list[tuple[str, str]]:
    """Return the experiment in a few words."""
    step, data = record.plan.distill, record.dataset
    matching, synthetic = step.matching, step.synthetic
    imported = record.imported_set
    return [
        *([("preview", "yes: shrunk to minutes")] if record.plan.preview else []),
        *([] if imported is not None else [("method", method_words(step))]),
        ("dataset", dataset_name(record)),
        ("classes", f"{data.classes:,}"),
        ("images per class", ipc_words(record)),
        ("initialisation", synthetic.init.name),
        *(imported_set_facts(imported) if imported is not None else []),
        ("labels", imported.labels if imported is not None else synthetic.labels.name),
        ("network", network_words(step.network)),
        *(distillation_facts(record) if matching.iterations or imported is None else []),
        ("seed", str(step.seed)),
        ("plan", record.plan.digest[:8]),
        ("ddspec", record.environment.ddspec),
    ]


def distillation_facts(record: Record) -> list[tuple[str, str]]:
    """Return how the set was distilled."""
    matching = record.plan.distill.matching
    return [
        ("experts", experts_words(record)),
        *([("with", ", ".join(names))] if (names := ingredients(record)) else []),
        ("iterations", f"{matching.iterations:,}"),
        *matching_facts(matching),
    ]


def imported_set_facts(imported: ImportedSet) -> list[tuple[str, str]]:
    """Return what is known of a set from elsewhere."""
    rate = imported.student_lr
    return [
        ("imported set", imported.name),
        ("comes from", imported.source or "not said"),
        ("files", ", ".join(f"{f.name} ({f.sha256[:12]})" for f in imported.files[:4])),
        ("its pixels", imported.pixels.text),
        ("its learning rate", "none" if rate is None else f"{rate:.4g}"),
    ]


def experts_words(record: Record) -> str:
    """Return the number of experts and the type of their trajectories."""
    experts = record.plan.trajectories
    if experts is None:
        return "none: no step needs one"
    kind = record.plan.distill.trajectory.type
    trajectories = {
        "sgd": "trajectories of SGD",
        "convex": "convexified trajectories",
        "bezier": "quadratic Bezier curves",
    }
    return f"{len(experts.members):,}, with {trajectories[kind]}"


def method_words(step: DistillStep) -> str:
    """Return what is matched, with the method that introduced it."""
    match step.matching:
        case _ if not step.matching.iterations:
            return "none: the initial set as it is"
        case TrajectoryMatching():
            return "trajectory matching (MTT)"
        case GradientMatching():
            return f"gradient matching ({'DSA' if step.augmentation.siamese else 'DC'})"
        case DistributionMatching():
            return "distribution matching (DM)"
        case FeatureMatching():
            return "feature matching (CAFE)"
        case Performance():
            return "loss of trained students on real images (RaT-BPTT)"
        case Kernel():
            return "error of a ridge regression on features (FRePo)"
        case ExtensionMatching(objective=name, version=version):
            return f"{name} {version}, an objective of an extension"
        case _:
            assert_never(step.matching)


def matching_facts(matching: Matching) -> list[tuple[str, str]]:
    """Return the sizes of an iteration."""
    if not matching.iterations:
        return []
    match matching:
        case TrajectoryMatching():
            return [
                ("student steps N", f"{matching.syn_steps:,}"),
                ("expert epochs M", f"{matching.expert_epochs:g}"),
            ]
        case Performance():
            return [
                ("student steps W", f"{matching.window:,}"),
                ("free steps before them", free_steps_words(matching.free_steps)),
                ("student's optimiser", matching.student_optimizer.name),
                ("real images per iteration", f"{matching.real_images:,}"),
            ]
        case Kernel():
            return [
                ("networks in the pool", f"{matching.pool.networks:,}"),
                ("replaced after", f"{matching.pool.max_steps + 1:,} training steps"),
                ("ridge", f"{matching.ridge:g}"),
                ("real images per iteration", f"{matching.real_images:,}"),
            ]
        case GradientMatching():
            steps = [
                ("pixel steps per iteration", f"{matching.outer_steps:,}"),
                ("network epochs between", f"{matching.network_epochs:,}"),
            ]
        case FeatureMatching():
            steps = [("schedule", matching.schedule.name)]
        case DistributionMatching():
            steps = [("statistic", matching.statistic.name)]
        case ExtensionMatching():
            steps = [(name, f"{value}") for name, value in matching.keys.items()]
        case _:
            assert_never(matching)
    return [("real images per class", f"{matching.batch_real:,}"), *steps]


def free_steps_words(free: FreeSteps) -> str:
    """Return how many steps a student takes before its window."""
    return f"{free.most:,}" if free.least == free.most else f"{free.least:,} to {free.most:,}"


def network_words(network: TrainedNetwork) -> str:
    """Return the network in a few words."""
    match network:
        case ConvNet(depth=depth):
            widths = " to ".join(
                str(width) for width in sorted({*network.channels})[:: max(1, depth - 1)]
            )
            return f"{network.name}, depth {depth}, width {widths}"
        case PlainNetwork():
            return network.name
        case ExtensionNetwork(name=name, version=version):
            return f"{name} {version}"
        case _:
            assert_never(network)


def ingredients(record: Record) -> list[str]:
    """Return what the experiment adds to plain matching, in a word or two each."""
    step = record.plan.distill
    used = {
        **expert_ingredients(record.plan.trajectories),
        **matching_ingredients(step.matching),
        "siamese augmentation": step.augmentation.siamese and step.augmentation.families,
        "partitioned images": step.synthetic.partition > 1,
        "moving average of images": step.synthetic.images.moving_average,
    }
    return [name for name, is_used in used.items() if is_used]


def expert_ingredients(step: ExpertsStep | TrajectoryStep | None) -> dict[str, Any]:
    """Return by name whether the experts have each ingredient; empty without experts."""
    if step is None:
        return {}
    optimizer, smoothing = step.recipe.experts.optimizer, step.recipe.experts.smoothing
    return {
        f"{optimizer.name} experts": optimizer.name != "sgd",
        "experts with momentum": isinstance(optimizer, Sgd) and optimizer.momentum > 0,
        "clipped loss": smoothing.clipped_loss,
        "gradient penalty": smoothing.gradient_penalty,
        "images in the order of difficulty": step.recipe.experts.data_order,
    }


def matching_ingredients(matching: Matching) -> dict[str, Any]:
    """Return by name whether the matching has each ingredient."""
    if not isinstance(matching, TrajectoryMatching) or not matching.iterations:
        return {}
    starts = matching.start_range.name
    return {
        "balanced inner loss": matching.balanced_inner_loss,
        "intermediate matching": matching.intermediate,
        "weight perturbation": matching.perturbation,
        "part of the parameters matched": matching.parameters,
        "student momentum": matching.student_momentum,
        "TESLA gradient": matching.gradient == "tesla",
        "nearest student step": matching.matched_step == "nearest",
        f"{starts.replace('_', ' ')} starts": starts != "uniform",
    }


def dataset_name(record: Record) -> str:
    """Return the spec's name of the images."""
    datasets = [step.dataset for step in record.plan.steps if isinstance(step, DatasetStep)]
    return " ".join(f"{data.name} ({data.root})" if data.root else data.name for data in datasets)
