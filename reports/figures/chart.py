"""A figure of a report: a drawing, a sentence on what it shows, and its numbers.

All numbers are kept. The page shows some of them in a table; the files beside the page and the
buttons under the figure give all of them, as JSON and as CSV.
"""

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, ScalarFormatter

from ddspec.dsl.atomic_write import write_text
from ddspec.reports.embed import json_for_script
from ddspec.reports.figures.svg import Drawing
from ddspec.reports.files import refuse_link
from ddspec.reports.format import evenly, listed, significant

SHOWN_ROWS = 25
"""Rows of the table beside a figure, if it has more values than that."""

Value = float | int | str | tuple[float, ...] | None


def value_text(value: Any) -> str:
    """Return a value as the table beside a figure shows it, unless its column says otherwise."""
    match value:
        case None:
            return ""
        case int():
            return f"{value:,}"
        case float():
            return significant(value)
        case tuple():
            return listed(value)
        case _:
            return str(value)


@dataclass(frozen=True)
class Column:
    """One column of the numbers of a figure."""

    name: str
    values: Sequence[Value]
    write: Callable[[Any], str] = value_text
    """Turns a value into the text of the table; None becomes an empty cell."""
    shown: bool = True
    """Whether the table beside the figure shows it too."""
    traced: bool = False
    """Whether the readout shows it: its values are heights above those of the first column."""


@dataclass(frozen=True)
class Mark:
    """An entry of a legend; `kind` is a class of the style sheet."""

    kind: str
    words: str


@dataclass(frozen=True)
class Chart:
    """A figure as the page shows it; `drawing` is missing if there was nothing to draw."""

    name: str
    title: str
    shows: str
    drawing: Drawing | None = None
    legend: tuple[Mark, ...] = ()
    columns: tuple[Column, ...] = ()
    """Columns of equal length, of which the first names the row."""
    noun: str = "rows"
    shift: float = 0.0
    """How far to the right of its number a row is drawn."""
    empty: str = "The record holds no values for this figure."

    @property
    def svg(self) -> Markup:
        """Return the drawing; empty if there is none."""
        return self.drawing.svg if self.drawing else Markup("")

    @property
    def count(self) -> int:
        """Return the number of rows of its numbers."""
        return len(self.columns[0].values) if self.columns else 0

    @property
    def shown(self) -> list[Column]:
        """Return the columns that the table shows."""
        return [column for column in self.columns if column.shown]

    @property
    def rows(self) -> list[list[str]]:
        """Return the rows of the table beside the figure: at most SHOWN_ROWS, evenly spread."""
        return [
            [
                "" if column.values[row] is None else column.write(column.values[row])
                for column in self.shown
            ]
            for row in evenly(self.count, SHOWN_ROWS)
        ]

    @property
    def cut(self) -> str:
        """Return in words what the table leaves out; empty if nothing."""
        if self.count <= SHOWN_ROWS:
            return ""
        return f"{SHOWN_ROWS} of {self.count:,} {self.noun}"

    @property
    def embedded(self) -> Markup:
        """Return numbers and frame for the script of the page."""
        assert self.drawing is not None
        frame = asdict(self.drawing.frame) if any(c.traced for c in self.columns) else None
        frame_and_numbers = {
            "name": self.name,
            "frame": frame,
            "shift": self.shift,
            "columns": [
                {"name": c.name, "values": c.values, "shown": c.shown, "traced": c.traced}
                for c in self.columns
            ],
        }
        return json_for_script(json.dumps(frame_and_numbers, separators=(",", ":")))


def numbers_json(chart: Chart) -> str:
    """Return all numbers of a figure as JSON, column by column."""
    columns = {
        "title": chart.title,
        "shows": chart.shows,
        "columns": {column.name: column.values for column in chart.columns},
    }
    return json.dumps(columns, ensure_ascii=False, indent=1) + "\n"


def numbers_csv(chart: Chart) -> str:
    """Return all numbers of a figure as CSV; spaces separate the values of one cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(column.name for column in chart.columns)
    writer.writerows(
        [cell(column.values[row]) for column in chart.columns] for row in range(chart.count)
    )
    return text.getvalue()


def cell(value: Value) -> Value:
    """Return a value as a CSV file holds it."""
    return " ".join(map(str, value)) if isinstance(value, tuple) else value


def write_numbers(charts: Sequence[Chart], folder: Path) -> None:
    """Write the numbers of every figure into a folder: NAME.json and NAME.csv."""
    drawn = [chart for chart in charts if chart.drawing]
    refuse_link(folder)
    if drawn:
        folder.mkdir(exist_ok=True)
    for chart in drawn:
        write_text(folder / f"{chart.name}.json", numbers_json(chart))
        write_text(folder / f"{chart.name}.csv", numbers_csv(chart))


def ends(points: Sequence[tuple[int, str]], unit: str = "iteration") -> str:
    """Return the first and last point of a line in words."""
    (first, at_first), (last, at_last) = points[0], points[-1]
    words = f"{at_first} at {unit} {first:,}"
    return words if first == last else f"{words}, {at_last} at {unit} {last:,}"


def count_axis(axes: Axes, label: str) -> None:
    """Make the horizontal axis one of whole numbers."""
    axes.set_xlabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def value_axis(axes: Axes, logarithmic: bool) -> None:
    """Make the ticks of the vertical axis plain numbers."""
    if logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.yaxis.set_major_formatter(ScalarFormatter(useOffset=False))
