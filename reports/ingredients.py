"""Figures of single ingredients: shown where a spec uses them."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from statistics import mean, median

from matplotlib.axes import Axes

from ddspec.dsl.record import ClusterPicture, Record, Series
from ddspec.reports.figures import Chart, Mark, count_axis, ends, value_axis
from ddspec.reports.svg import ACCENT, INK, QUIET, draw, evenly, spans_decades
from ddspec.reports.tables import distilling
from ddspec.reports.units import fixed, plural, significant

MOST_BINS = 50
"""Start epochs that the figure of the inner loss tells apart."""

SHOWN_ROWS = 25


def ingredient_charts(record: Record) -> list[Chart]:
    """Of the matching: inner loss by start epoch, and where students were matched."""
    charts = [inner_loss_chart(record)]
    if distilling(record).matching.matched_step == "nearest":
        charts.append(matched_step_chart(record))
    return charts


def inner_loss_chart(record: Record) -> Chart:
    """Plain inner loss by start epoch, and the balanced one where it is balanced (AST, Fig. 3)."""
    name, title = "inner-loss", "Inner loss by start epoch"
    balanced = distilling(record).matching.balanced_inner_loss is not None
    shows = (
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
        return Chart(name, title, shows, empty="No iteration was run.")
    plain = by_start_epoch(series, series.inner_loss)
    weighted = by_start_epoch(
        series,
        [x * w for x, w in zip(series.inner_loss, series.inner_weight, strict=True)],
    )
    places = sorted(plain)
    means = [mean(plain[place]) for place in places]
    balanced_means = [mean(weighted[place]) for place in places]
    logarithmic = spans_decades([*means, *(balanced_means if balanced else [])])

    def plot(axes: Axes) -> None:
        axes.plot(places, means, color=QUIET, marker="o", markersize=3)
        if balanced:
            axes.plot(places, balanced_means, color=ACCENT, marker="o", markersize=3)
        value_axis(axes, logarithmic)
        axes.set_ylabel("inner loss")
        count_axis(axes, "start epoch")

    apart = max(means) / min(means) if min(means) > 0 else 0.0
    label = f"Line chart over {plural(len(places), 'start epoch')}: plain " + ends(
        [(places[0], significant(means[0])), (places[-1], significant(means[-1]))], "epoch"
    )
    if apart:
        label += f"; the largest is {apart:.1f} times the smallest"
    legend = (Mark("thin", "plain"), Mark("line", "balanced")) if balanced else ()
    rows = [
        (
            str(place),
            str(len(plain[place])),
            significant(plain_mean),
            *((significant(balanced_mean),) if balanced else ()),
        )
        for place, plain_mean, balanced_mean in zip(places, means, balanced_means, strict=True)
    ]
    return Chart(
        name=name,
        title=title,
        shows=shows + (f" Here the largest is {apart:.1f} times the smallest." if apart else ""),
        svg=draw(name, label, plot),
        legend=legend,
        columns=("start epoch", "students", "plain", *(("balanced",) if balanced else ())),
        rows=tuple(rows),
    )


def by_start_epoch(series: Series, values: Sequence[float]) -> dict[int, list[float]]:
    """A value of each iteration, gathered by the start epoch, or by so many of them."""
    span = max(series.start_epoch) - min(series.start_epoch)
    width = max(1, -(-int(span + 1) // MOST_BINS))
    found: dict[int, list[float]] = defaultdict(list)
    for start, value in zip(series.start_epoch, values, strict=True):
        found[int(start) // width * width].append(value)
    return found


def matched_step_chart(record: Record) -> Chart:
    """After which step students were nearest to their target (ATT)."""
    name, title = "matched-step", "Matched student step"
    shows = (
        "How often students came nearest to their target after a step; the gradient begins there "
        "(ATT, arXiv:2407.14245)."
    )
    steps, last = record.series.matched_step, distilling(record).matching.syn_steps
    if not steps:
        return Chart(name, title, shows, empty="No iteration was run.")
    counts = [steps.count(step) for step in range(1, last + 1)]

    def plot(axes: Axes) -> None:
        axes.bar(range(1, last + 1), counts, width=0.9, color=ACCENT)
        axes.set_ylabel("iterations")
        count_axis(axes, "student step")

    label = (
        f"Bar chart of {plural(len(steps), 'iteration')} over {plural(last, 'student step')}: "
        f"median step {median(steps):g}"
    )
    return Chart(
        name=name,
        title=title,
        shows=shows,
        svg=draw(name, label, plot),
        columns=("student step", "iterations"),
        rows=tuple((str(i), f"{n:,}") for i, n in enumerate(counts, start=1)),
    )


def path_charts(record: Record) -> list[Chart]:
    """Accuracy along convexified paths against the trajectories they stand for (MCT)."""
    experts = [e for e in record.experts if e.path_accuracy]
    if not experts:
        return []
    name, title = "path-accuracy", "Accuracy along the convexified path"
    path = means_over([e.path_accuracy for e in experts])
    # Both begin at the same initialisation.
    trained = [path[0], *means_over([e.test_accuracy for e in experts])]
    shows = (
        f"Test accuracy at every epoch, mean over {plural(len(experts), 'expert')}: of the "
        "snapshots as trained, and of the points of the convexified path that stand for them "
        "(MCT, arXiv:2406.19827). "
        f"From epoch to epoch the path rises in {share_of_rises(path)} steps, "
        f"the trajectory as trained in {share_of_rises(trained)}."
    )

    def plot(axes: Axes) -> None:
        axes.plot(range(len(trained)), trained, color=QUIET)
        axes.plot(range(len(path)), path, color=ACCENT)
        axes.set_ylabel("test accuracy (%)")
        count_axis(axes, "epoch")

    label = "Line chart of two courses over epochs: convexified " + ends(
        [(0, f"{fixed(path[0], 1)} %"), (len(path) - 1, f"{fixed(path[-1], 1)} %")], "epoch"
    )
    picked = evenly(len(path), SHOWN_ROWS)
    chart = Chart(
        name=name,
        title=title,
        shows=shows,
        svg=draw(name, label, plot),
        legend=(Mark("line", "convexified path"), Mark("thin", "as trained")),
        columns=("epoch", "convexified (%)", "as trained (%)"),
        rows=tuple((str(i), fixed(path[i]), fixed(trained[i])) for i in picked),
        cut=f"{len(picked)} of {len(path):,} epochs" if len(picked) < len(path) else "",
    )
    return [chart]


def means_over(courses: Sequence[Sequence[float]]) -> list[float]:
    """Mean over experts, epoch by epoch."""
    return [mean(values) for values in zip(*courses, strict=True)]


def share_of_rises(values: Sequence[float]) -> str:
    """In how many of its steps a course rises."""
    rises = sum(after > before for before, after in pairwise(values))
    return f"{rises} of {len(values) - 1}"


def cluster_charts(record: Record) -> list[Chart]:
    """Per class, k-means and the images that it chose (AST, Fig. 10)."""
    return [cluster_chart(record, picture) for picture in record.clusters]


def cluster_chart(record: Record, picture: ClusterPicture) -> Chart:
    """One class in two principal components of the features."""
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

    sizes = {cluster: picture.cluster.count(cluster) for cluster in clusters}
    taken = [picture.cluster[index] for index in picture.chosen]
    return Chart(
        name=name,
        title=f"Clusters of class {of_class}",
        shows=f"The {plural(len(picture.x), 'training image')} of the class in two principal "
        f"components of an expert's features, {plural(len(clusters), 'cluster')}; marked are the "
        "images that the synthetic set begins with, with the number of their cluster.",
        svg=draw(
            name,
            f"Scatter chart of {plural(len(picture.x), 'image')}, {len(chosen)} of them chosen, "
            f"in {plural(len(clusters), 'cluster')}",
            plot,
        ),
        legend=(Mark("dots", "real images"), Mark("dot", "chosen")),
        columns=("cluster", "images", "chosen"),
        rows=tuple((str(c), str(sizes[c]), str(taken.count(c))) for c in clusters),
    )


def label_charts(record: Record) -> list[Chart]:
    """What soft labels say of their own class."""
    labels = record.soft_labels
    if labels is None:
        return []
    names = record.dataset.class_names
    count = len(labels.own)

    def plot(axes: Axes) -> None:
        axes.bar(range(count), labels.own, width=0.9, color=ACCENT)
        axes.plot(range(count), labels.other_share, "o", color=QUIET, markersize=3)
        axes.set_ylabel("mean probability")
        count_axis(axes, "class")

    label = (
        f"Bar chart of {plural(count, 'class', 'classes')}: own probability between "
        f"{min(labels.own):.2f} and {max(labels.own):.2f}"
    )
    chart = Chart(
        name="soft-labels",
        title="Soft labels",
        shows="Mean probability that the labels of the chosen set give the class of the image, "
        "and the largest one that they give to another class.",
        svg=draw("soft-labels", label, plot),
        legend=(Mark("line", "own class"), Mark("dots", "largest other class")),
        columns=("class", "own", "next class", "its share"),
        rows=tuple(
            (
                names[c],
                f"{labels.own[c]:.3f}",
                names[labels.other[c]],
                f"{labels.other_share[c]:.3f}",
            )
            for c in range(count)
        ),
    )
    return [chart]
