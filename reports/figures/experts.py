"""Figures of the experts: each epoch of their training, and the paths that replace them."""

from collections.abc import Sequence
from itertools import pairwise
from statistics import mean, median

from matplotlib.axes import Axes

from ddspec.dsl.record.record import Record
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
    """Return the figures of the experts' training, epoch by epoch."""
    return [
        lines_by_expert_chart(
            "expert-accuracy",
            "Test accuracy of the experts",
            "Test accuracy of each expert after each epoch on real data; a synthetic set is not "
            "expected to reach it.",
            "test accuracy (%)",
            {expert.index: expert.test_accuracy for expert in record.experts},
        ),
        lines_by_expert_chart(
            "expert-steps",
            "Squared step length of the experts",
            "Squared distance between the snapshots before and after each epoch: how fast an "
            "expert moves through parameter space. Its mean over epochs is Avg_Var.",
            "squared step length",
            {e.index: tuple(step**2 for step in e.step_length) for e in record.experts},
        ),
    ]


def lines_by_expert_chart(
    name: str, title: str, caption: str, unit: str, paths: dict[int, tuple[float, ...]]
) -> Chart:
    """Return a chart with a thin line per expert, and their median up to the shortest."""
    paths = {index: path for index, path in paths.items() if path}
    if not paths:
        return Chart(name, title, caption, empty="No expert ran an epoch.")
    common = [median(values) for values in zip(*paths.values(), strict=False)]
    every = [value for path in paths.values() for value in path]
    several, logarithmic = len(paths) > 1, spans_decades(every)

    def plot(axes: Axes) -> None:
        for path in paths.values():
            line = downsample(range(1, len(path) + 1), path)
            axes.plot(*line, color=QUIET, linewidth=0.7, alpha=0.7, marker="." * (len(path) == 1))
        if several:
            line = downsample(range(1, len(common) + 1), common)
            axes.plot(*line, color=ACCENT, linewidth=1.8, marker="o" * (len(common) == 1))
        format_value_axis(axes, logarithmic)
        axes.set_ylabel(unit)
        format_count_axis(axes, "epoch")

    shown = common if several else next(iter(paths.values()))
    label = f"Line chart of {plural(len(paths), 'expert')}: " + ("median " if several else "")
    label += describe_ends(
        [(x, significant(y)) for x, y in ((1, shown[0]), (len(shown), shown[-1]))], "epoch"
    )
    longest = max(map(len, paths.values()))
    values_by_epoch = [
        [p[epoch] for p in paths.values() if epoch < len(p)] for epoch in range(longest)
    ]
    return Chart(
        name=name,
        title=title + (" (logarithmic axis)" if logarithmic else ""),
        caption=caption,
        drawing=draw(name, label, plot),
        legend=(
            LegendEntry("thin", "each expert"),
            LegendEntry("line", "median, up to the epoch that all of them reached"),
        )
        if several
        else (LegendEntry("thin", f"expert {next(iter(paths))}"),),
        columns=(
            Column("epoch", list(range(1, longest + 1))),
            Column("experts", [len(values) for values in values_by_epoch]),
            Column("lowest", [min(values) for values in values_by_epoch]),
            Column("median", [median(values) for values in values_by_epoch], traced=True),
            Column("highest", [max(values) for values in values_by_epoch]),
            *(
                Column(f"expert {index}", (*path, *[None] * (longest - len(path))), shown=False)
                for index, path in paths.items()
            ),
        ),
        noun="epochs",
    )


def path_accuracy_charts(record: Record) -> list[Chart]:
    """Return the accuracy along convexified paths and along the trajectories (MCT)."""
    experts = [e for e in record.experts if e.path_accuracy]
    if not experts:
        return []
    name, title = "path-accuracy", "Accuracy along the convexified path"
    path = mean_by_epoch([e.path_accuracy for e in experts])
    # Both begin at the same initialisation; the accuracy of imported experts is not known.
    known = all(e.test_accuracy for e in experts)
    trained = [path[0], *mean_by_epoch([e.test_accuracy for e in experts])] if known else []
    caption = (
        f"Test accuracy at every epoch, mean over {plural(len(experts), 'expert')}: of the "
        "snapshots as trained, and of the points of the convexified path that stand for them "
        "(MCT, arXiv:2406.19827). "
        f"From epoch to epoch the path rises in {count_of_rises(path)} steps"
    ) + (f", the trajectory as trained in {count_of_rises(trained)}." if known else ".")

    def plot(axes: Axes) -> None:
        axes.plot(range(len(trained)), trained, color=QUIET)
        axes.plot(range(len(path)), path, color=ACCENT)
        axes.set_ylabel("test accuracy (%)")
        format_count_axis(axes, "epoch")

    label = "Line chart of two courses over epochs: convexified " + describe_ends(
        [(0, f"{fixed(path[0], 1)} %"), (len(path) - 1, f"{fixed(path[-1], 1)} %")], "epoch"
    )
    chart = Chart(
        name=name,
        title=title,
        caption=caption,
        drawing=draw(name, label, plot),
        legend=(
            LegendEntry("line", "convexified path"),
            *(LegendEntry("thin", "as trained"),) * known,
        ),
        columns=(
            Column("epoch", list(range(len(path)))),
            Column("convexified (%)", path, fixed, traced=True),
            *(Column("as trained (%)", trained, fixed, traced=True),) * known,
        ),
        noun="epochs",
    )
    return [chart]


def mean_by_epoch(courses: Sequence[Sequence[float]]) -> list[float]:
    """Return the mean over experts, epoch by epoch."""
    return [mean(values) for values in zip(*courses, strict=True)]


def count_of_rises(values: Sequence[float]) -> str:
    """Return in how many of its steps a series rises, in words."""
    rises = sum(after > before for before, after in pairwise(values))
    return f"{rises} of {len(values) - 1}"
