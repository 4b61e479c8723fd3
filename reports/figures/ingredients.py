"""Figures of the inner loop, and of methods' options that only some specs use."""

from collections import defaultdict
from collections.abc import Sequence
from statistics import mean, median

from matplotlib.axes import Axes

from ddspec.dsl.record.record import Record
from ddspec.dsl.record.series import Series
from ddspec.dsl.record.synthetic_set import ClusterPicture
from ddspec.dsl.spec.objectives.trajectory import TrajectoryMatching
from ddspec.reports.figures.chart import (
    Chart,
    Column,
    LegendEntry,
    describe_ends,
    format_count_axis,
    format_value_axis,
)
from ddspec.reports.figures.svg import ACCENT, INK, QUIET, draw, spans_decades
from ddspec.reports.format import plural, significant

MOST_BINS = 50
"""Most groups of start epochs in the figure of the inner loss."""


def inner_loop_charts(record: Record) -> list[Chart]:
    """Return the inner loss by start epoch, and the matched steps if they vary.

    Only trajectory matching has an inner loop.
    """
    matching = record.plan.distill.matching
    if not isinstance(matching, TrajectoryMatching):
        return []
    charts = [inner_loss_chart(record, matching.balanced_inner_loss is not None)]
    if matching.matched_step == "nearest":
        charts.append(matched_step_chart(record, matching.syn_steps))
    return charts


def inner_loss_chart(record: Record, balanced: bool) -> Chart:
    """Return the inner loss by start epoch (AST, Fig. 3).

    The balanced loss is drawn too if the spec balances the inner loss.
    """
    name, title = "inner-loss", "Inner loss by start epoch"
    caption = (
        "Mean cross-entropy over the steps of all students that started at the same epoch, each on "
        "the synthetic set of its iteration."
        + (
            " The balanced loss, which the student minimises, is this loss times its weight."
            if balanced
            else ""
        )
        + " AST (arXiv:2310.10541, Fig. 3) examines how far early and late starts lie apart."
    )
    series = record.series
    if not series.start_epoch:
        return Chart(name, title, caption, empty="No iteration was run.")
    plain = by_start_epoch(series, series.inner_loss)
    weighted = by_start_epoch(
        series,
        [x * w for x, w in zip(series.inner_loss, series.inner_weight, strict=True)],
    )
    epochs = sorted(plain)
    means = [mean(plain[epoch]) for epoch in epochs]
    balanced_means = [mean(weighted[epoch]) for epoch in epochs]
    logarithmic = spans_decades([*means, *(balanced_means if balanced else [])])

    def plot(axes: Axes) -> None:
        axes.plot(epochs, means, color=QUIET, marker="o", markersize=3)
        if balanced:
            axes.plot(epochs, balanced_means, color=ACCENT, marker="o", markersize=3)
        format_value_axis(axes, logarithmic)
        axes.set_ylabel("inner loss")
        format_count_axis(axes, "start epoch")

    ratio = max(means) / min(means) if min(means) > 0 else 0.0
    label = f"Line chart over {plural(len(epochs), 'start epoch')}: plain " + describe_ends(
        [(epochs[0], significant(means[0])), (epochs[-1], significant(means[-1]))], "epoch"
    )
    if ratio:
        label += f"; the largest mean is {ratio:.1f} times the smallest"
    legend = (LegendEntry("thin", "plain"), LegendEntry("line", "balanced")) if balanced else ()
    return Chart(
        name=name,
        title=title,
        caption=caption
        + (f" Here the largest mean is {ratio:.1f} times the smallest." if ratio else ""),
        drawing=draw(name, label, plot),
        legend=legend,
        columns=(
            Column("start epoch", epochs),
            Column("students", [len(plain[epoch]) for epoch in epochs]),
            Column("plain", means, traced=True),
            *((Column("balanced", balanced_means, traced=True),) if balanced else ()),
        ),
        noun="start epochs",
    )


def by_start_epoch(series: Series, values: Sequence[float]) -> dict[int, list[float]]:
    """Return the values of all iterations, grouped by start epoch.

    Over a range of more than MOST_BINS epochs, several neighbouring epochs form a
    group, which is named by its first epoch.
    """
    epoch_range = max(series.start_epoch) - min(series.start_epoch)
    width = max(1, -(-int(epoch_range + 1) // MOST_BINS))
    values_by_epoch: dict[int, list[float]] = defaultdict(list)
    for start, value in zip(series.start_epoch, values, strict=True):
        values_by_epoch[int(start) // width * width].append(value)
    return values_by_epoch


def matched_step_chart(record: Record, last: int) -> Chart:
    """Return how often each student step was the nearest to its target (ATT)."""
    name, title = "matched-step", "Matched student step"
    caption = (
        "How often each student step was the one that came nearest to the target. The gradient "
        "starts from that step (ATT, arXiv:2407.14245)."
    )
    steps = record.series.matched_step
    if not steps:
        return Chart(name, title, caption, empty="No iteration was run.")
    counts = [steps.count(step) for step in range(1, last + 1)]

    def plot(axes: Axes) -> None:
        axes.bar(range(1, last + 1), counts, width=0.9, color=ACCENT)
        axes.set_ylabel("iterations")
        format_count_axis(axes, "student step")

    label = (
        f"Bar chart of {plural(len(steps), 'iteration')} over {plural(last, 'student step')}: "
        f"median step {median(steps):g}"
    )
    return Chart(
        name=name,
        title=title,
        caption=caption,
        drawing=draw(name, label, plot),
        columns=(
            Column("student step", list(range(1, last + 1))),
            Column("iterations", counts, traced=True),
        ),
        noun="student steps",
    )


def cluster_charts(record: Record) -> list[Chart]:
    """Return a figure per class: its clusters and the chosen images (AST, Fig. 10)."""
    return [cluster_chart(record, picture) for picture in record.clusters]


def cluster_chart(record: Record, picture: ClusterPicture) -> Chart:
    """Return the clusters of one class in two principal components of the features."""
    class_name = record.dataset.class_names[picture.label]
    chosen = set(picture.chosen)
    clusters = sorted(set(picture.cluster))
    name = f"clusters-{picture.label}"

    def plot(axes: Axes) -> None:
        axes.plot(picture.x, picture.y, "o", color=QUIET, markersize=2.5, alpha=0.55)
        for index in chosen:
            axes.plot(picture.x[index], picture.y[index], "o", color=ACCENT, markersize=6)
            axes.annotate(
                str(picture.cluster[index]),
                (picture.x[index], picture.y[index]),
                xytext=(5, 3),
                textcoords="offset points",
                color=INK,
            )
        axes.set_xlabel("first principal component")
        axes.set_ylabel("second principal component")

    return Chart(
        name=name,
        title=f"Clusters of class {class_name}",
        caption=f"The {plural(len(picture.x), 'training image')} of the class in two principal "
        f"components of an expert's features, in {plural(len(clusters), 'cluster')}. The images "
        "that the synthetic set is initialised with are marked with the number of their cluster.",
        drawing=draw(
            name,
            f"Scatter chart of {plural(len(picture.x), 'image')}, {len(chosen)} of them chosen, "
            f"in {plural(len(clusters), 'cluster')}",
            plot,
        ),
        legend=(LegendEntry("dots", "real images"), LegendEntry("dot", "chosen")),
        columns=(
            Column("image", list(range(len(picture.x)))),
            Column("first component", picture.x),
            Column("second component", picture.y),
            Column("cluster", picture.cluster),
            Column("chosen", [int(image in chosen) for image in range(len(picture.x))]),
        ),
        noun="images",
    )


def label_charts(record: Record) -> list[Chart]:
    """Return the figure of the soft labels by class; empty if the labels are hard."""
    labels = record.soft_labels
    if labels is None:
        return []
    names = record.dataset.class_names
    count = len(labels.own)

    def plot(axes: Axes) -> None:
        axes.bar(range(count), labels.own, width=0.9, color=ACCENT)
        axes.plot(range(count), labels.other_share, "o", color=QUIET, markersize=3)
        axes.set_ylabel("mean probability")
        format_count_axis(axes, "class")

    label = (
        f"Bar chart of {plural(count, 'class', 'classes')}: mean probability of the "
        f"own class between {min(labels.own):.2f} and {max(labels.own):.2f}"
    )
    chart = Chart(
        name="soft-labels",
        title="Soft labels",
        caption="Mean probability that the labels of the chosen set assign to the class of the "
        "image, and the largest mean probability that they assign to another class.",
        drawing=draw("soft-labels", label, plot),
        legend=(LegendEntry("line", "own class"), LegendEntry("dots", "largest other class")),
        columns=(
            Column("number", list(range(count)), shown=False),
            Column("class", names[:count]),
            Column("own probability", labels.own),
            Column("next class", [names[c] for c in labels.other]),
            Column("its probability", labels.other_share),
        ),
        noun="classes",
    )
    return [chart]
