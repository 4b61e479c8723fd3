"""Line charts of several runs over one axis; the lines differ in colour and marker."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from ddspec.reports.figures.chart import (
    Chart,
    Column,
    LegendEntry,
    format_count_axis,
    format_value_axis,
)
from ddspec.reports.figures.svg import MARKERS, SIDE_BY_SIDE, downsample, draw, spans_decades
from ddspec.reports.format import plural, significant

MOST_MARKED_POINTS = 12
"""A line of at most this many points has a marker at each point."""
MARKERS_OF_LONG_LINE = 8
"""How many markers a longer line has."""


@dataclass(frozen=True)
class RunLine:
    """The line of one run."""

    label: str
    xs: Sequence[int]
    values: Sequence[float]


def marked_points(count: int, number: int) -> slice:
    """Return which of its points a line marks; the markers of two long lines stand apart."""
    if count <= MOST_MARKED_POINTS:
        return slice(None)
    every = count // MARKERS_OF_LONG_LINE
    return slice(number * every // len(MARKERS), None, every)


def coincidence_words(lines: Sequence[RunLine]) -> str:
    """Return in a sentence each which lines lie on one another; empty if none do."""
    labels_by_points: dict[tuple[tuple[int, float], ...], list[str]] = {}
    for line in lines:
        points = tuple(zip(line.xs, line.values, strict=True))
        labels_by_points.setdefault(points, []).append(line.label)
    return "".join(
        f" Equal, so that one line hides the others: {'; '.join(labels)}."
        for labels in labels_by_points.values()
        if len(labels) > 1
    )


def line_chart(
    name: str, title: str, caption: str, lines: Sequence[RunLine], y_label: str, x_label: str
) -> Chart:
    """Return a figure of the first lines with values, at most one per colour.

    The columns hold the values of all lines.
    """
    drawn = [line for line in lines if line.values][: len(SIDE_BY_SIDE)]
    if not drawn:
        return Chart(name, title, caption)
    logarithmic = spans_decades([value for line in drawn for value in line.values])

    def plot(axes: Axes) -> None:
        for number, line in enumerate(drawn):
            xs, values = downsample(line.xs, line.values)
            axes.plot(
                xs,
                values,
                color=SIDE_BY_SIDE[number],
                marker=MARKERS[number],
                markevery=marked_points(len(values), number),
                markersize=4,
                alpha=0.85,
            )
        format_value_axis(axes, logarithmic)
        axes.set_ylabel(y_label)
        format_count_axis(axes, x_label)

    omitted = len(lines) - len(drawn)
    xs = sorted({x for line in lines for x in line.xs})
    values_by_x = [dict(zip(line.xs, line.values, strict=True)) for line in lines]
    line_ends = "; ".join(f"{line.label} ends at {significant(line.values[-1])}" for line in drawn)
    if omitted:
        caption += f" The chart shows {len(drawn)} of {plural(len(lines), 'run')}."
    caption += coincidence_words(drawn)
    return Chart(
        name=name,
        title=title + (" (logarithmic axis)" if logarithmic else ""),
        caption=caption,
        drawing=draw(name, f"Line chart of {plural(len(drawn), 'run')}: {line_ends}", plot),
        legend=tuple(LegendEntry(f"beside beside-{i}", line.label) for i, line in enumerate(drawn)),
        columns=(
            Column(x_label, xs),
            *(
                Column(line.label, [values.get(x) for x in xs], traced=line in drawn)
                for line, values in zip(lines, values_by_x, strict=True)
            ),
        ),
        noun=f"{x_label}s",
    )
