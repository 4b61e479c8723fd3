"""Figures of every run: accuracy over iterations and per network, and the outer loop."""

from collections import Counter
from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ddspec.dsl.record.record import Accuracy, Record
from ddspec.dsl.record.results import accuracy_of
from ddspec.dsl.record.series import Series
from ddspec.dsl.spec.evaluation import Expectation
from ddspec.dsl.spec.trajectory import ConvexTrajectory
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


def accuracy_charts(record: Record) -> list[Chart]:
    """Return the accuracy over iterations, a figure per network."""
    networks = [step.network_name for step in record.plan.evaluations("distilled")]
    return [accuracy_chart(record, network) for network in networks]


def accuracy_chart(record: Record, network: NetworkName) -> Chart:
    """Return mean and single accuracies at every evaluated iterate, with their baselines."""
    name, title = f"accuracy-{network}", f"Test accuracy of {network} over iterations"
    caption = (
        "Test accuracy of fresh networks trained on the synthetic set as it stood at each "
        "evaluated iteration; iteration 0 is the set before distillation."
    )
    points = accuracy_over_iterations(record, network)
    if not points:
        return Chart(name, title, caption, empty="No synthetic set was evaluated.")
    baseline = record.results.random_real.get(network)
    labelled = record.results.random_real_expert_labels.get(network)
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
        drawing=draw(name, label, accuracy_plot(points, baseline, labelled, expected)),
        legend=accuracy_legend(baseline, labelled, expected),
        columns=(
            Column("iteration", [point.iteration for point in points]),
            Column("mean", [point.mean for point in points], fixed, traced=True),
            Column("std", [point.std if point.n > 1 else None for point in points], fixed),
            Column("single networks", [point.values for point in points]),
        ),
        noun="evaluations",
    )


def accuracy_over_iterations(record: Record, network: str) -> list[Accuracy]:
    """Return the accuracies of one network at every evaluated iterate."""
    of_network = [
        accuracy_of(evaluated, "none")
        for evaluated in record.evaluations
        if (evaluated.subject, evaluated.network) == ("distilled", network) and evaluated.values
    ]
    return sorted(of_network, key=lambda accuracy: accuracy.iteration)


def accuracy_plot(
    points: Sequence[Accuracy],
    baseline: Accuracy | None,
    labelled: Accuracy | None,
    expected: Sequence[Expectation],
) -> Callable[[Axes], None]:
    """Draw means as a line, networks as dots, baselines as bands, published means dashed."""

    def plot(axes: Axes) -> None:
        if baseline is not None:
            low, high = baseline.mean - baseline.std, baseline.mean + baseline.std
            axes.axhspan(low, high, color=QUIET, alpha=0.25, linewidth=0)
            axes.axhline(baseline.mean, color=QUIET, linewidth=1)
        if labelled is not None:
            axes.axhline(labelled.mean, color=QUIET, linewidth=1, linestyle=(0, (2, 2)))
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
    baseline: Accuracy | None, labelled: Accuracy | None, expected: Sequence[Expectation]
) -> tuple[LegendEntry, ...]:
    """Return what lines, dots and bands stand for."""
    marks = [LegendEntry("line", "mean"), LegendEntry("dot", "single networks")]
    if baseline is not None:
        random = mean_and_std(baseline.mean, baseline.std, baseline.n, 1)
        marks.append(LegendEntry("band", f"random real images, {random} %"))
    if labelled is not None:
        random = mean_and_std(labelled.mean, labelled.std, labelled.n, 1)
        marks.append(LegendEntry("dots", f"the same with soft labels of expert 0, {random} %"))
    marks += [LegendEntry("dash", f"published {e.accuracy:g} %: {e.source}") for e in expected]
    return tuple(marks)


def outer_loop_charts(record: Record) -> list[Chart]:
    """Return the figures of the outer loop, iteration by iteration."""
    step, series = record.plan.distill, record.series
    init = step.synthetic.student_lr.init
    return [
        matching_loss_chart(record),
        series_chart(
            "student-lr",
            "Learned student learning rate",
            "The student's learning rate after each update; it is learned along with the images, "
            "and evaluation trains its networks with it.",
            series.student_lr,
            reference=(init, f"first value, {significant(init)}"),
        ),
        series_chart(
            "gradient-norm",
            "Gradient norm",
            "Norm of the matching loss's gradient by the synthetic pixels; spikes announce an "
            "outer loop that is about to diverge. Updates skipped for their loss have none.",
            *gradient_norms(series),
        ),
        start_epoch_chart(record),
    ]


def gradient_norms(series: Series) -> tuple[list[float], list[int]]:
    """Return the gradient norms of iterations that took a gradient, and their numbers."""
    taken = [i for i, norm in enumerate(series.gradient_norm) if norm or not series.guarded[i]]
    return [series.gradient_norm[i] for i in taken], [i + 1 for i in taken]


def matching_loss_chart(record: Record) -> Chart:
    """Return the figure of the matching loss; a sentence says what intermediate points add."""
    step, series = record.plan.distill, record.series
    perturbation = step.matching.perturbation
    still = "at 1 the student might as well have stood still"
    if perturbation is not None and perturbation.denominator == "expert":
        still = "the student's perturbed start lies farther away than 1"
    caption = (
        "Squared distance of the student to the target, in units of the distance the expert "
        f"travelled: {still}, at 0 its {step.matching.syn_steps} steps replaced "
        f"{step.matching.expert_epochs:g} expert epochs."
    )
    if step.matching.intermediate is not None and series.intermediate_loss:
        added = sum(series.intermediate_loss) / len(series.intermediate_loss)
        caption += f" Intermediate points add {significant(added)} to it on average."
    return series_chart(
        "matching-loss",
        "Matching loss",
        caption,
        series.matching_loss,
        reference=(1.0, "1: the distance that the expert travelled"),
    )


def series_chart(
    name: str,
    title: str,
    caption: str,
    values: Sequence[float],
    iterations: Sequence[int] | None = None,
    reference: tuple[float, str] | None = None,
) -> Chart:
    """Return one number per iteration as a line, on a logarithmic axis if it spans decades."""
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


def start_epoch_chart(record: Record) -> Chart:
    """Return how often each start epoch was drawn."""
    step, starts = record.plan.distill, record.series.start_epoch
    low, high = step.matching.min_start_epoch, step.matching.max_start_epoch
    trajectory, starts_from = step.trajectory, step.matching.start_range.name
    convex = isinstance(trajectory, ConvexTrajectory) and trajectory.sampling != "discrete"
    name, title = "start-epochs", "Sampled start epochs"
    ranges = {
        "uniform": f"starts are drawn from [{low}, {high})",
        "near_previous": f"starts are drawn around the previous one within [{low}, {high})",
        "growing": f"starts are drawn from {low} up to a bound that grows to {high}",
    }
    caption = f"How often a window started at each expert epoch; {ranges[starts_from]}" + (
        " as real numbers along the convexified path." if convex else ", whole epochs only."
    )
    if not starts:
        return Chart(name, title, caption, empty="No iteration was run.")
    width = -(-(high - low) // MOST_BARS)
    counts = Counter(low + int((start - low) // width) * width for start in starts)
    bins = list(range(low, high, width))
    edge = convex or width > 1

    def plot(axes: Axes) -> None:
        axes.bar(
            bins,
            [counts[b] for b in bins],
            width=0.9 * width,
            align="edge" if edge else "center",
            color=ACCENT,
        )
        axes.set_ylabel("windows")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, steps=[1, 2, 5, 10]))
        format_count_axis(axes, "start epoch")

    drawn = [counts[b] for b in bins]
    label = (
        f"Histogram of {plural(len(starts), 'window')} over start epochs {low} to {high}: "
        f"between {min(drawn):,} and {max(drawn):,} per bar"
    )
    return Chart(
        name=name,
        title=title,
        caption=caption,
        drawing=draw(name, label, plot),
        columns=(
            Column("start epoch", bins, lambda first: start_epochs_text(first, width, convex)),
            Column("windows", drawn, traced=True),
        ),
        noun="bars",
        shift=0.45 * width if edge else 0.0,
    )


def start_epochs_text(first: int, width: int, convex: bool) -> str:
    """Return the start epochs that a bar counts."""
    if convex:
        return f"[{first}, {first + width})"
    return str(first) if width == 1 else f"{first} to {first + width - 1}"
