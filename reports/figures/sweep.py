"""Figures of a sweep: the accuracy of every run, and accuracy over each numeric key."""

from collections.abc import Callable, Mapping, Sequence

from matplotlib.axes import Axes

from ddspec.dsl.record.record import Accuracy
from ddspec.dsl.record.seed_groups import SEED_AXIS
from ddspec.dsl.record.sweep import SweepRecord, SweptAxis, SweptRun
from ddspec.reports.figures.chart import Chart, Column, LegendEntry
from ddspec.reports.figures.strip_chart import Strip, shorten_label, strip_chart
from ddspec.reports.figures.svg import ACCENT, MARKERS, QUIET, SIDE_BY_SIDE, draw
from ddspec.reports.format import fixed, plural


def every_run(record: SweepRecord) -> Chart:
    """Return the strip chart of all runs, with a dot for every network."""
    return strip_chart(
        "every-run",
        "Test accuracy of every run",
        "The mean over fresh networks, and each network as a dot.",
        [
            Strip(run.label, run.accuracy, run.random_real)
            for run in record.runs
            if run.accuracy is not None
        ],
        reference="random real images",
        empty="No run was evaluated yet.",
    )


def curves(record: SweepRecord) -> list[Chart]:
    """Return a figure of accuracy over each numeric key.

    It has a line per choice of the other keys.
    """
    return [
        curve(record, number, axis)
        for number, axis in enumerate(record.axes)
        if len(axis.entries) > 1
        and axis.name != SEED_AXIS
        and all(number_at(run, axis) is not None for run in record.runs)
    ]


def number_at(run: SweptRun, axis: SweptAxis) -> float | None:
    """Return the number of a run on an axis; None if it is not a number."""
    value = run.settings.get(axis.name)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return None


def curve(record: SweepRecord, number: int, axis: SweptAxis) -> Chart:
    """Return the figure of accuracy over one key."""
    name, title = f"curve-{number}", f"Test accuracy over {axis.name}"
    caption = "Means over fresh networks, with their standard deviation; a line for each choice of "
    caption += "what else changed." if len(record.axes) > 1 else "the rest."
    caption += " The vertical axis does not begin at zero."
    lines: dict[tuple[str, ...], list[tuple[float, Accuracy]]] = {}
    for run in record.runs:
        value, others = number_at(run, axis), (*run.entries[:number], *run.entries[number + 1 :])
        if run.accuracy is not None and value is not None:
            lines.setdefault(others, []).append((value, run.accuracy))
    if not lines:
        return Chart(name, title, caption, empty="No run was evaluated yet.")
    points = [(others, *point) for others, whole in lines.items() for point in whole]
    return Chart(
        name=name,
        title=title,
        caption=caption,
        drawing=draw(
            name,
            f"Line chart of {plural(len(lines), 'line')} over {axis.name}",
            lines_over(axis.name, lines),
        ),
        legend=curve_legend(list(lines)),
        columns=(
            Column(axis.name, [value for _, value, _ in points], lambda value: f"{value:g}"),
            Column("others", [", ".join(others) for others, _, _ in points]),
            Column("mean", [accuracy.mean for _, _, accuracy in points], fixed),
            Column("std", [accuracy.std for _, _, accuracy in points], fixed),
            Column("single networks", [accuracy.values for _, _, accuracy in points]),
        ),
        noun="runs",
    )


MOST_TICKS = 8
LINE_SHIFT = 0.012
"""Distance between the points of two lines at the same value, as a share of the axis."""


def curve_legend(lines: Sequence[tuple[str, ...]]) -> tuple[LegendEntry, ...]:
    """Return the legend of colours and marks, if there are few enough curves."""
    if len(lines) == 1 or len(lines) > len(SIDE_BY_SIDE):
        return (LegendEntry("line", "mean and standard deviation"),)
    return tuple(
        LegendEntry(f"beside beside-{number}", f"{', '.join(others)}: mean and standard deviation")
        for number, others in enumerate(lines)
    )


def lines_over(
    key: str, lines: Mapping[tuple[str, ...], Sequence[tuple[float, Accuracy]]]
) -> Callable[[Axes], None]:
    """Return the function that draws the lines; too many get names at their ends."""
    distinguishable = 1 < len(lines) <= len(SIDE_BY_SIDE)
    xs = [value for points in lines.values() for value, _ in points]
    apart = LINE_SHIFT * (max(xs) - min(xs)) if distinguishable else 0.0

    def plot(axes: Axes) -> None:
        for number, (others, points) in enumerate(lines.items()):
            ordered = sorted(points, key=lambda point: point[0])
            positions = [value for value, _ in ordered]
            means = [accuracy.mean for _, accuracy in ordered]
            spreads = [accuracy.std for _, accuracy in ordered]
            colour = SIDE_BY_SIDE[number] if distinguishable else ACCENT
            marker = MARKERS[number] if distinguishable else "o"
            # Lines stand a little apart, so that no error bar hides another.
            shift = (number - (len(lines) - 1) / 2) * apart
            shifted = [position + shift for position in positions]
            axes.errorbar(shifted, means, yerr=spreads, color=colour, marker=marker, capsize=3)
            if len(lines) > len(SIDE_BY_SIDE):
                axes.annotate(
                    shorten_label(", ".join(others)),
                    (positions[-1], means[-1]),
                    xytext=(5, 0),
                    color=QUIET,
                    textcoords="offset points",
                    va="center",
                )
        whole = {value for points in lines.values() for value, _ in points}
        if len(whole) <= MOST_TICKS:
            axes.set_xticks(sorted(whole), [f"{value:g}" for value in sorted(whole)])
        axes.set_xlabel(key)
        axes.set_ylabel("test accuracy (%)")

    return plot
