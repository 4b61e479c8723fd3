"""Figures of single ingredients, shown if a spec uses them."""

from collections import defaultdict
from collections.abc import Sequence
from statistics import mean, median

from matplotlib.axes import Axes

from ddspec.dsl.record.record import ClusterPicture, Record
from ddspec.dsl.record.series import Series
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
"""Start epochs that the figure of the inner loss distinguishes."""


def inner_loop_charts(record: Record) -> list[Chart]:
    """Return the figures of the matching: inner loss by start epoch, and matched steps."""
    charts = [inner_loss_chart(record)]
    if record.plan.distill.matching.matched_step == "nearest":
        charts.append(matched_step_chart(record))
    return charts


def inner_loss_chart(record: Record) -> Chart:
    """Return the inner loss by start epoch, and the balanced one if asked for (AST, Fig. 3)."""
    name, title = "inner-loss", "Inner loss by start epoch"
    balanced = record.plan.distill.matching.balanced_inner_loss is not None
    caption = (
        "Mean cross-entropy over the steps of students that started at an epoch, on the synthetic "
        "set as it stood."
        + (
            " Balanced is that loss times its weight, which is what the student descends."
            if balanced
            else ""
        )
        + " AST (arXiv:2310.10541, Fig. 3) looks at how far early and late starts lie apart."
    )
    series = record.series
    if not series.start_epoch:
        return Chart(name, title, caption, empty="No iteration was run.")
    plain = by_start_epoch(series, series.inner_loss)
    weighted = by_start_epoch(
        series,
        [x * w for x, w in zip(series.inner_loss, series.inner_weight, strict=True)],
    )
    places = sorted(plain)
    means = [mean(plain[epoch]) for epoch in places]
    balanced_means = [mean(weighted[epoch]) for epoch in places]
    logarithmic = spans_decades([*means, *(balanced_means if balanced else [])])

    def plot(axes: Axes) -> None:
        axes.plot(places, means, color=QUIET, marker="o", markersize=3)
        if balanced:
            axes.plot(places, balanced_means, color=ACCENT, marker="o", markersize=3)
        format_value_axis(axes, logarithmic)
        axes.set_ylabel("inner loss")
        format_count_axis(axes, "start epoch")

    apart = max(means) / min(means) if min(means) > 0 else 0.0
    label = f"Line chart over {plural(len(places), 'start epoch')}: plain " + describe_ends(
        [(places[0], significant(means[0])), (places[-1], significant(means[-1]))], "epoch"
    )
    if apart:
        label += f"; the largest is {apart:.1f} times the smallest"
    legend = (LegendEntry("thin", "plain"), LegendEntry("line", "balanced")) if balanced else ()
    return Chart(
        name=name,
        title=title,
        caption=caption
        + (f" Here the largest is {apart:.1f} times the smallest." if apart else ""),
        drawing=draw(name, label, plot),
        legend=legend,
        columns=(
            Column("start epoch", places),
            Column("students", [len(plain[epoch]) for epoch in places]),
            Column("plain", means, traced=True),
            *((Column("balanced", balanced_means, traced=True),) if balanced else ()),
        ),
        noun="start epochs",
    )


def by_start_epoch(series: Series, values: Sequence[float]) -> dict[int, list[float]]:
    """Return the values of the iterations by start epoch, or by groups of start epochs."""
    span = max(series.start_epoch) - min(series.start_epoch)
    width = max(1, -(-int(span + 1) // MOST_BINS))
    values_by_epoch: dict[int, list[float]] = defaultdict(list)
    for start, value in zip(series.start_epoch, values, strict=True):
        values_by_epoch[int(start) // width * width].append(value)
    return values_by_epoch


def matched_step_chart(record: Record) -> Chart:
    """Return the figure of the steps at which students were nearest to their target (ATT)."""
    name, title = "matched-step", "Matched student step"
    caption = (
        "How often students came nearest to their target after a step; the gradient begins there "
        "(ATT, arXiv:2407.14245)."
    )
    steps, last = record.series.matched_step, record.plan.distill.matching.syn_steps
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
    """Return a figure per class of k-means and the images it chose (AST, Fig. 10)."""
    return [cluster_chart(record, picture) for picture in record.clusters]


def cluster_chart(record: Record, picture: ClusterPicture) -> Chart:
    """Return the figure of one class in two principal components of the features."""
    of_class = record.dataset.class_names[picture.label]
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
                fontsize=8,
            )
        axes.set_xlabel("first principal component")
        axes.set_ylabel("second principal component")

    return Chart(
        name=name,
        title=f"Clusters of class {of_class}",
        caption=f"The {plural(len(picture.x), 'training image')} of the class in two principal "
        f"components of an expert's features, {plural(len(clusters), 'cluster')}; marked are the "
        "images that the synthetic set begins with, with the number of their cluster.",
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
    """Return the figure of the probability that soft labels give their own class."""
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
        f"Bar chart of {plural(count, 'class', 'classes')}: own probability between "
        f"{min(labels.own):.2f} and {max(labels.own):.2f}"
    )
    chart = Chart(
        name="soft-labels",
        title="Soft labels",
        caption="Mean probability that the labels of the chosen set give the class of the image, "
        "and the largest one that they give to another class.",
        drawing=draw("soft-labels", label, plot),
        legend=(LegendEntry("line", "own class"), LegendEntry("dots", "largest other class")),
        columns=(
            Column("number", list(range(count)), shown=False),
            Column("class", names[:count]),
            Column("own", labels.own),
            Column("next class", [names[c] for c in labels.other]),
            Column("its share", labels.other_share),
        ),
        noun="classes",
    )
    return [chart]
