"""Lines of several runs over one axis, distinguished by colour, mark and dash."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from ddspec.reports.figures.chart import Chart, Column, Mark, count_axis, value_axis
from ddspec.reports.figures.svg import MARKERS, SEVERAL, downsample, draw, spans_decades
from ddspec.reports.format import plural, significant

FEW = 12
"""A line of at most this many points has a mark at each."""


@dataclass(frozen=True)
class Line:
    """The line of one run."""

    label: str
    places: Sequence[int]
    values: Sequence[float]


def overlay_chart(
    name: str, title: str, shows: str, lines: Sequence[Line], unit: str, across: str
) -> Chart:
    """Return all lines in one figure, as many as the eye can distinguish."""
    drawn = [line for line in lines if line.values][: len(SEVERAL)]
    if not drawn:
        return Chart(name, title, shows)
    logarithmic = spans_decades([value for line in drawn for value in line.values])

    def plot(axes: Axes) -> None:
        for number, line in enumerate(drawn):
            marker = MARKERS[number] if len(line.values) <= FEW else ""
            axes.plot(
                *downsample(line.places, line.values),
                color=SEVERAL[number],
                marker=marker,
                markersize=4,
                alpha=0.85,
            )
        value_axis(axes, logarithmic)
        axes.set_ylabel(unit)
        count_axis(axes, across)

    left = len(lines) - len(drawn)
    places = sorted({x for line in lines for x in line.places})
    values_by_place = [dict(zip(line.places, line.values, strict=True)) for line in lines]
    line_ends = "; ".join(f"{line.label} ends at {significant(line.values[-1])}" for line in drawn)
    return Chart(
        name=name,
        title=title + (" (logarithmic axis)" if logarithmic else ""),
        shows=shows + (f" Drawn are {len(drawn)} of {plural(len(lines), 'run')}." if left else ""),
        drawing=draw(name, f"Line chart of {plural(len(drawn), 'run')}: {line_ends}", plot),
        legend=tuple(Mark(f"beside beside-{i}", line.label) for i, line in enumerate(drawn)),
        columns=(
            Column(across, places),
            *(
                Column(line.label, [values.get(x) for x in places], traced=line in drawn)
                for line, values in zip(lines, values_by_place, strict=True)
            ),
        ),
        noun=f"{across}s",
    )
