"""Figures that every run has: accuracy over iterations, and the outer loop."""

from collections import Counter
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import assert_never

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ddspec.dsl.record.record import Accuracy, Record
from ddspec.dsl.record.results import accuracy_of
from ddspec.dsl.record.series import Series
from ddspec.dsl.spec.evaluation import Expectation
from ddspec.dsl.spec.network import network_id
from ddspec.dsl.spec.objectives.kernel import Kernel
from ddspec.dsl.spec.objectives.performance import Performance
from ddspec.dsl.spec.objectives.trajectory import MatchedParameters, TrajectoryMatching
from ddspec.dsl.spec.trajectory import SgdTrajectory
from ddspec.dsl.terms import NetworkName
from ddspec.reports.figures.chart import (
    Chart,
    Column,
    LegendEntry,
    describe_ends,
    format_count_axis,
    format_value_axis,
)
from ddspec.reports.figures.svg import ACCENT, QUIET, downsample, draw, spans_decades
from ddspec.reports.format import fixed, mean_and_std, plural, significant

MOST_BARS = 50
"""Most bars in the histogram of start epochs."""


def accuracy_charts(record: Record) -> list[Chart]:
    """Return a figure of accuracy over iterations for each network."""
    networks = [step.network_name for step in record.plan.evaluations("distilled")]
    return [accuracy_chart(record, network) for network in networks]


def accuracy_chart(record: Record, network: NetworkName) -> Chart:
    """Return the accuracies at every evaluated iteration, with the baselines."""
    name, title = f"accuracy-{network_id(network)}", f"Test accuracy of {network} over iterations"
    caption = (
        "Test accuracy of fresh networks trained on the synthetic set of each evaluated iteration. "
        "Iteration 0 is the set before distillation."
    )
    points = accuracy_over_iterations(record, network)
    if not points:
        return Chart(name, title, caption, empty="No synthetic set was evaluated.")
    baseline = record.results.random_real.get(network)
    soft_baseline = record.results.random_real_expert_labels.get(network)
    expected = [c.expectation for c in record.compared if c.expectation.network == network]
    label = f"Line chart of {plural(len(points), 'evaluation')}: " + describe_ends(
        [(point.iteration, f"{fixed(point.mean, 1)} %") for point in points]
    )
    if baseline is not None:
        label += f"; random real images {fixed(baseline.mean, 1)} %"
    return Chart(
        name=name,
        title=title,
        caption=caption,
        drawing=draw(name, label, accuracy_plot(points, baseline, soft_baseline, expected)),
        legend=accuracy_legend(baseline, soft_baseline, expected),
        columns=(
            Column("iteration", [point.iteration for point in points]),
            Column("mean", [point.mean for point in points], fixed, traced=True),
            Column("std", [point.std if point.n > 1 else None for point in points], fixed),
            Column("single networks", [point.values for point in points]),
        ),
        noun="evaluations",
    )


def accuracy_over_iterations(record: Record, network: str) -> list[Accuracy]:
    """Return the accuracies of one network, sorted by iteration."""
    of_network = [
        accuracy_of(evaluated, "none")
        for evaluated in record.evaluations
        if (evaluated.subject, evaluated.network) == ("distilled", network) and evaluated.values
    ]
    return sorted(of_network, key=lambda accuracy: accuracy.iteration)


def accuracy_plot(
    points: Sequence[Accuracy],
    baseline: Accuracy | None,
    soft_baseline: Accuracy | None,
    expected: Sequence[Expectation],
) -> Callable[[Axes], None]:
    """Return the function that draws the figure on its axes.

    Means are joined by a line, and single networks are dots. The baseline is a band of
    one standard deviation on each side, the baseline with soft labels a dotted line,
    and published means are dashed lines.
    """

    def plot(axes: Axes) -> None:
        if baseline is not None:
            low, high = baseline.mean - baseline.std, baseline.mean + baseline.std
            axes.axhspan(low, high, color=QUIET, alpha=0.25, linewidth=0)
            axes.axhline(baseline.mean, color=QUIET, linewidth=1)
        if soft_baseline is not None:
            axes.axhline(soft_baseline.mean, color=QUIET, linewidth=1, linestyle=(0, (2, 2)))
        for expectation in expected:
            axes.axhline(expectation.accuracy, color=ACCENT, linewidth=1, linestyle=(0, (5, 3)))
        singles = [(point.iteration, value) for point in points for value in point.values]
        axes.plot(*zip(*singles, strict=True), "o", color=ACCENT, markersize=3, alpha=0.45)
        means = downsample([p.iteration for p in points], [p.mean for p in points])
        axes.plot(*means, color=ACCENT, marker="o", markersize=4)
        axes.set_ylabel("test accuracy (%)")
        format_count_axis(axes, "iteration")

    return plot


def accuracy_legend(
    baseline: Accuracy | None, soft_baseline: Accuracy | None, expected: Sequence[Expectation]
) -> tuple[LegendEntry, ...]:
    """Return the legend of the lines, dots and bands of `accuracy_plot`."""
    legend = [LegendEntry("line", "mean"), LegendEntry("dot", "single networks")]
    if baseline is not None:
        random = mean_and_std(baseline.mean, baseline.std, baseline.n, 1)
        legend.append(LegendEntry("band", f"random real images, {random} %"))
    if soft_baseline is not None:
        random = mean_and_std(soft_baseline.mean, soft_baseline.std, soft_baseline.n, 1)
        images = "random real images with soft labels of expert 0"
        legend.append(LegendEntry("dots", f"{images}, {random} %"))
    legend += [LegendEntry("dash", f"published {e.accuracy:g} %: {e.source}") for e in expected]
    return tuple(legend)


def outer_loop_charts(record: Record) -> list[Chart]:
    """Return the figures of the outer loop, with one value per iteration."""
    matching = record.plan.distill.matching
    gradient_norm = series_chart(
        "gradient-norm",
        "Gradient norm",
        "Norm of the gradient of the loss with respect to the synthetic images. "
        "Spikes announce that the outer loop is about to diverge. Updates skipped because of "
        "their loss have no gradient.",
        *gradient_norms(record.series),
    )
    if isinstance(matching, Performance):
        return [*performance_charts(record.series), gradient_norm]
    if isinstance(matching, Kernel):
        return [*kernel_charts(record.series), gradient_norm]
    if not isinstance(matching, TrajectoryMatching):
        caption = "The distance that each update reduces, before the update."
        losses = record.series.matching_loss
        return [series_chart("matching-loss", "Matching loss", caption, losses), gradient_norm]
    return [
        matching_loss_chart(record, matching),
        student_lr_chart(record),
        gradient_norm,
        start_epoch_chart(record, matching),
    ]


def performance_charts(series: Series) -> list[Chart]:
    """Return the losses of the students, on real images and on the synthetic set."""
    return [
        series_chart(
            "matching-loss",
            "Loss on real images",
            "Mean cross-entropy on real images of a student that was trained on the synthetic set, "
            "before the update that reduces it. Every iteration has another student and other real "
            "images, so neighbouring values differ.",
            series.matching_loss,
        ),
        series_chart(
            "inner-loss",
            "Loss on the synthetic set",
            "Mean cross-entropy on the synthetic set over the steps of the window, through which "
            "the gradient runs. Where it is near zero, the student learns nothing more from the "
            "set, and its gradient vanishes.",
            series.inner_loss,
        ),
    ]


def kernel_charts(series: Series) -> list[Chart]:
    """Return the error of the regression, and how far labels are from a tie."""
    return [
        series_chart(
            "matching-loss",
            "Error on real images",
            "Half of the squared error of the ridge regression on real images, summed over "
            "classes, before the update that reduces it. Every iteration has another network of "
            "the pool and other real images, so neighbouring values differ.",
            series.matching_loss,
        ),
        series_chart(
            "kernel-accuracy",
            "Accuracy of the regression",
            "Share of the iteration's real training images that the ridge regression classifies "
            "correctly, in percent. Networks that are trained from the beginning are another "
            "test: see the evaluations.",
            series.kernel_accuracy,
        ),
        series_chart(
            "label-margin",
            "Margin of the labels",
            "Mean distance of the largest entry of a learned label from the second, at most one "
            "over the number of classes. Where it falls, labels come close to a tie.",
            series.label_margin,
        ),
    ]


def student_lr_chart(record: Record) -> Chart:
    """Return the figure of the learned student_lr."""
    init = record.plan.distill.synthetic.student_lr.init
    return series_chart(
        "student-lr",
        "Learned student learning rate",
        "The student's learning rate after each update. It is learned together with the "
        "images, and evaluation trains its networks with it.",
        record.series.student_lr,
        reference=(init, f"first value, {significant(init)}"),
    )


def gradient_norms(series: Series) -> tuple[list[float], list[int]]:
    """Return gradient norms, and the iterations that took a gradient."""
    taken = [i for i, norm in enumerate(series.gradient_norm) if norm or not series.guarded[i]]
    return [series.gradient_norm[i] for i in taken], [i + 1 for i in taken]


def matching_loss_chart(record: Record, matching: TrajectoryMatching) -> Chart:
    """Return the figure of the matching loss at the target.

    The caption states the mean loss that intermediate points add, if there are any.
    """
    series, perturbation = record.series, matching.perturbation
    meaning_of_one = "A loss of 1 means that the student might as well have stood still."
    if perturbation is not None and perturbation.denominator == "expert":
        meaning_of_one = "The student's perturbed start has a loss above 1."
    epochs = matching.expert_epochs
    caption = (
        "Squared distance from the student to the target, divided by the squared distance that "
        f"the expert travelled. {meaning_of_one} A loss of 0 means that "
        f"{plural(matching.syn_steps, 'student step')} replaced {epochs:g} expert "
        f"{'epoch' if epochs == 1 else 'epochs'}."
    )
    if matching.parameters is not None:
        caption += f" {matched_part_words(matching.parameters)}"
    if matching.intermediate is not None and series.intermediate_loss:
        added = fmean(series.intermediate_loss)
        caption += f" Intermediate points add {significant(added)} to this loss on average."
    return series_chart(
        "matching-loss",
        "Matching loss",
        caption,
        series.matching_loss,
        reference=(1.0, "1: squared distance that the expert travelled"),
    )


def matched_part_words(parameters: MatchedParameters) -> str:
    """Return in a sentence which parameters the matching loss compares."""
    share = f"{100 * parameters.drop:g} %"
    match parameters.by:
        case "depth":
            part = f"the first {share} of the parameters, those of the shallow layers"
        case "error":
            part = f"the {share} of the parameters that are nearest to the target at that time"
        case _:
            assert_never(parameters.by)
    return f"Both distances leave out {part} (PAD, arXiv:2408.03360)."


def series_chart(
    name: str,
    title: str,
    caption: str,
    values: Sequence[float],
    iterations: Sequence[int] | None = None,
    reference: tuple[float, str] | None = None,
) -> Chart:
    """Return a line of values by iteration, logarithmic if they span decades.

    `iterations` are the x values, 1, 2, ... by default; `reference` is the y value of a
    dotted line and its legend.
    """
    if not values:
        return Chart(name, title, caption, empty="No iteration was run.")
    xs, logarithmic = iterations or range(1, len(values) + 1), spans_decades(values)

    def plot(axes: Axes) -> None:
        if reference is not None and (reference[0] > 0 or not logarithmic):
            axes.axhline(reference[0], color=QUIET, linewidth=1, linestyle=(0, (2, 2)))
        axes.plot(*downsample(xs, values), color=ACCENT, marker="o" * (len(values) == 1))
        format_value_axis(axes, logarithmic)
        axes.set_ylabel(title.lower())
        format_count_axis(axes, "iteration")

    label = f"Line chart of {plural(len(values), 'iteration')}: " + describe_ends(
        [(x, significant(value)) for x, value in ((xs[0], values[0]), (xs[-1], values[-1]))]
    )
    label += f"; lowest {significant(min(values))}, highest {significant(max(values))}"
    return Chart(
        name=name,
        title=title + (" (logarithmic axis)" if logarithmic else ""),
        caption=caption,
        drawing=draw(name, label, plot),
        legend=(LegendEntry("dots", reference[1]),) if reference else (),
        columns=(Column("iteration", list(xs)), Column(title.lower(), values, traced=True)),
        noun="iterations",
    )


def start_epoch_chart(record: Record, matching: TrajectoryMatching) -> Chart:
    """Return the histogram of the start epochs that were drawn."""
    trajectory, starts = record.plan.distill.trajectory, record.series.start_epoch
    low, high = matching.min_start_epoch, matching.max_start_epoch
    start_range = matching.start_range.name
    real = not isinstance(trajectory, SgdTrajectory) and trajectory.sampling != "discrete"
    name, title = "start-epochs", "Sampled start epochs"
    ranges = {
        "uniform": f"from [{low}, {high})",
        "near_previous": f"around the previous start within [{low}, {high})",
        "growing": f"from {low} up to a bound that grows to {high}",
    }
    path = {"sgd": "trajectory", "convex": "convexified path", "bezier": "Bezier curve"}
    kind = f"real numbers along the {path[trajectory.type]}," if real else "whole epochs"
    caption = (
        "Number of windows that started at each expert epoch. "
        f"Start epochs are {kind} drawn {ranges[start_range]}."
    )
    if not starts:
        return Chart(name, title, caption, empty="No iteration was run.")
    width = -(-(high - low) // MOST_BARS)
    counts = Counter(low + int((start - low) // width) * width for start in starts)
    bins = list(range(low, high, width))
    windows = [counts[first] for first in bins]
    # A bar of several epochs or of real numbers starts at its first epoch.
    edge = real or width > 1

    def plot(axes: Axes) -> None:
        axes.bar(bins, windows, width=0.9 * width, align="edge" if edge else "center", color=ACCENT)
        axes.set_ylabel("windows")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, steps=[1, 2, 5, 10]))
        format_count_axis(axes, "start epoch")

    label = (
        f"Histogram of {plural(len(starts), 'window')} over start epochs {low} to {high}: "
        f"between {min(windows):,} and {max(windows):,} per bar"
    )
    return Chart(
        name=name,
        title=title,
        caption=caption,
        drawing=draw(name, label, plot),
        columns=(
            Column("start epoch", bins, lambda first: start_epochs_text(first, width, real)),
            Column("windows", windows, traced=True),
        ),
        noun="bars",
        shift=0.45 * width if edge else 0.0,
    )


def start_epochs_text(first: int, width: int, real: bool) -> str:
    """Return the start epochs that a bar counts, in words."""
    if real:
        return f"[{first}, {first + width})"
    return str(first) if width == 1 else f"{first} to {first + width - 1}"
