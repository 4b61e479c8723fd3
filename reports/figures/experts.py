"""Figures of the experts: their training, and accuracy along the paths in their place."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import mean, median

from matplotlib.axes import Axes

from ddspec.dsl.record.record import Record
from ddspec.dsl.spec.trajectory import BezierTrajectory
from ddspec.reports.figures.chart import (
    Chart,
    Column,
    LegendEntry,
    describe_ends,
    format_count_axis,
    format_value_axis,
)
from ddspec.reports.figures.svg import ACCENT, QUIET, downsample, draw, spans_decades
from ddspec.reports.format import fixed, plural, significant


def expert_charts(record: Record) -> list[Chart]:
    """Return the figures of the experts' training, with one value per epoch."""
    return [
        lines_by_expert_chart(
            "expert-accuracy",
            "Test accuracy of the experts",
            "Test accuracy of each expert after each epoch on real data. A synthetic set is not "
            "expected to reach this accuracy.",
            "test accuracy (%)",
            {expert.index: expert.test_accuracy for expert in record.experts},
        ),
        lines_by_expert_chart(
            "expert-steps",
            "Squared step length of the experts",
            "Squared distance between the snapshots before and after each epoch, which shows how "
            "fast an expert moves through parameter space. Its mean over epochs is Avg_Var.",
            "squared step length",
            {e.index: tuple(step**2 for step in e.step_length) for e in record.experts},
        ),
    ]


def lines_by_expert_chart(
    name: str,
    title: str,
    caption: str,
    y_label: str,
    values_by_expert: Mapping[int, Sequence[float]],
) -> Chart:
    """Return a chart with a line per expert, and their median if there are several.

    `values_by_expert` holds one value per epoch by the index of the expert. Experts may
    differ in length; the median ends with the shortest of them.
    """
    lines = {index: values for index, values in values_by_expert.items() if values}
    if not lines:
        reasons = "no expert ran an epoch, or imported experts came without them"
        return Chart(name, title, caption, empty=f"The record has no such values: {reasons}.")
    medians = [median(values) for values in zip(*lines.values(), strict=False)]
    several = len(lines) > 1
    logarithmic = spans_decades([value for values in lines.values() for value in values])

    def plot(axes: Axes) -> None:
        for values in lines.values():
            points = downsample(range(1, len(values) + 1), values)
            marker = "." * (len(values) == 1)
            axes.plot(*points, color=QUIET, linewidth=0.7, alpha=0.7, marker=marker)
        if several:
            points = downsample(range(1, len(medians) + 1), medians)
            axes.plot(*points, color=ACCENT, linewidth=1.8, marker="o" * (len(medians) == 1))
        format_value_axis(axes, logarithmic)
        axes.set_ylabel(y_label)
        format_count_axis(axes, "epoch")

    main_line = medians if several else next(iter(lines.values()))
    label = f"Line chart of {plural(len(lines), 'expert')}: " + ("median " if several else "")
    label += describe_ends(
        [(1, significant(main_line[0])), (len(main_line), significant(main_line[-1]))], "epoch"
    )
    if several:
        legend: tuple[LegendEntry, ...] = (
            LegendEntry("thin", "each expert"),
            LegendEntry("line", "median, up to the last epoch that all experts reached"),
        )
    else:
        legend = (LegendEntry("thin", f"expert {next(iter(lines))}"),)
    return Chart(
        name=name,
        title=title + (" (logarithmic axis)" if logarithmic else ""),
        caption=caption,
        drawing=draw(name, label, plot),
        legend=legend,
        columns=columns_by_epoch(lines),
        noun="epochs",
    )


def columns_by_epoch(lines: Mapping[int, Sequence[float]]) -> tuple[Column, ...]:
    """Return statistics over experts by epoch, then a hidden column per expert."""
    longest = max(map(len, lines.values()))
    values_by_epoch = [
        [values[epoch] for values in lines.values() if epoch < len(values)]
        for epoch in range(longest)
    ]
    return (
        Column("epoch", list(range(1, longest + 1))),
        Column("experts", [len(values) for values in values_by_epoch]),
        Column("lowest", [min(values) for values in values_by_epoch]),
        Column("median", [median(values) for values in values_by_epoch], traced=True),
        Column("highest", [max(values) for values in values_by_epoch]),
        *(
            Column(f"expert {index}", (*values, *[None] * (longest - len(values))), shown=False)
            for index, values in lines.items()
        ),
    )


def path_accuracy_charts(record: Record) -> list[Chart]:
    """Return the accuracy along the paths in place of trajectories, and along these (MCT, BTM)."""
    experts = [expert for expert in record.experts if expert.path_accuracy]
    if not experts:
        return []
    curved = isinstance(record.plan.distill.trajectory, BezierTrajectory)
    kind = "Bezier curve" if curved else "convexified path"
    source = "BTM, arXiv:2510.05805" if curved else "MCT, arXiv:2406.19827"
    name, title = "path-accuracy", f"Accuracy along the {kind}"
    path = mean_by_epoch([expert.path_accuracy for expert in experts])
    # The path and the trajectory start from the same initialisation. Imported experts have
    # no test accuracy.
    known = all(expert.test_accuracy for expert in experts)
    trained = [path[0], *mean_by_epoch([e.test_accuracy for e in experts])] if known else []
    caption = (
        f"Mean test accuracy over {plural(len(experts), 'expert')} at every epoch: of the points "
        f"of the {kind}, which replace the snapshots ({source})"
        + (", and of the snapshots as trained. " if known else ". ")
        + f"From epoch to epoch the path rises in {count_of_rises(path)} steps"
        + (f", the trajectory as trained in {count_of_rises(trained)}." if known else ".")
        + curve_loss_words([expert.curve_loss for expert in experts if expert.curve_loss])
    )

    def plot(axes: Axes) -> None:
        axes.plot(range(len(trained)), trained, color=QUIET)
        axes.plot(range(len(path)), path, color=ACCENT)
        axes.set_ylabel("test accuracy (%)")
        format_count_axis(axes, "epoch")

    label = f"Line chart of {plural(1 + known, 'line')} over epochs: {kind} " + (
        describe_ends(
            [(0, f"{fixed(path[0], 1)} %"), (len(path) - 1, f"{fixed(path[-1], 1)} %")], "epoch"
        )
    )
    chart = Chart(
        name=name,
        title=title,
        caption=caption,
        drawing=draw(name, label, plot),
        legend=(
            LegendEntry("line", kind),
            *(LegendEntry("thin", "as trained"),) * known,
        ),
        columns=(
            Column("epoch", list(range(len(path)))),
            Column("Bezier curve (%)" if curved else "convexified (%)", path, fixed, traced=True),
            *(Column("as trained (%)", trained, fixed, traced=True),) * known,
        ),
        noun="epochs",
    )
    return [chart]


def curve_loss_words(losses: Sequence[Sequence[float]]) -> str:
    """Return in a sentence how training the control points changed the loss; empty if untrained."""
    if not losses:
        return ""
    before, after = mean_by_epoch(losses)
    return (
        f" Training the control points took the mean test loss along the curves from "
        f"{significant(before)}, on the straight lines, to {significant(after)}."
    )


def mean_by_epoch(accuracies: Sequence[Sequence[float]]) -> list[float]:
    """Return the mean over experts at each epoch; all must have equally many epochs."""
    return [mean(values) for values in zip(*accuracies, strict=True)]


def count_of_rises(values: Sequence[float]) -> str:
    """Return how many steps of a series rise, as "RISES of STEPS"."""
    rises = sum(after > before for before, after in pairwise(values))
    return f"{rises} of {len(values) - 1}"
