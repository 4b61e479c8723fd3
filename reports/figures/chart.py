"""A figure of a report: a drawing, a sentence on what it shows, and its numbers.

The numbers are kept whole. The page shows a part of them in a table; the files beside it and the
buttons under the figure give all, as JSON and as CSV.
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
"""Rows of the table beside a long series."""

Value = float | int | str | tuple[float, ...] | None


def value_text(value: Any) -> str:
    """A value of a figure in the table beside it, where the column does not say how."""
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
    """Gives the words of the table; None is always left empty."""
    shown: bool = True
    """Whether the table beside the figure has it too."""
    traced: bool = False
    """Whether the pointer meets it: its values are heights over the first column's places."""


@dataclass(frozen=True)
class Mark:
    """An entry of a legend; `kind` is a class of the style sheet."""

    kind: str
    words: str


@dataclass(frozen=True)
class Chart:
    """A figure as the page shows it; without `drawing` there was nothing to draw."""

    name: str
    title: str
    shows: str
    drawing: Drawing | None = None
    legend: tuple[Mark, ...] = ()
    columns: tuple[Column, ...] = ()
    """Of equal length; the first names the row."""
    noun: str = "rows"
    shift: float = 0.0
    """How far right of its number a row of the first column is drawn."""
    empty: str = "The record holds no values for this figure."

    @property
    def svg(self) -> Markup:
        """The drawing; nothing where there is none."""
        return self.drawing.svg if self.drawing else Markup("")

    @property
    def count(self) -> int:
        """Rows of its numbers."""
        return len(self.columns[0].values) if self.columns else 0

    @property
    def shown(self) -> list[Column]:
        """Columns of the table."""
        return [column for column in self.columns if column.shown]

    @property
    def rows(self) -> list[list[str]]:
        """The table beside the figure: at most so many rows, evenly spread."""
        return [
            [
                "" if column.values[row] is None else column.write(column.values[row])
                for column in self.shown
            ]
            for row in evenly(self.count, SHOWN_ROWS)
        ]

    @property
    def cut(self) -> str:
        """What the table leaves out, in words; empty where nothing is."""
        if self.count <= SHOWN_ROWS:
            return ""
        return f"{SHOWN_ROWS} of {self.count:,} {self.noun}"

    @property
    def embedded(self) -> Markup:
        """Numbers and frame for the script of the page."""
        assert self.drawing is not None
        frame = asdict(self.drawing.frame) if any(c.traced for c in self.columns) else None
        found = {
            "name": self.name,
            "frame": frame,
            "shift": self.shift,
            "columns": [
                {"name": c.name, "values": c.values, "shown": c.shown, "traced": c.traced}
                for c in self.columns
            ],
        }
        return json_for_script(json.dumps(found, separators=(",", ":")))


def numbers_json(chart: Chart) -> str:
    """All numbers of a figure, column by column."""
    found = {
        "title": chart.title,
        "shows": chart.shows,
        "columns": {column.name: column.values for column in chart.columns},
    }
    return json.dumps(found, ensure_ascii=False, indent=1) + "\n"


def numbers_csv(chart: Chart) -> str:
    """All numbers of a figure, row by row; several values of a cell are set apart by spaces."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(column.name for column in chart.columns)
    writer.writerows(
        [cell(column.values[row]) for column in chart.columns] for row in range(chart.count)
    )
    return text.getvalue()


def cell(value: Value) -> Value:
    """A value in a CSV file."""
    return " ".join(map(str, value)) if isinstance(value, tuple) else value


def write_numbers(charts: Sequence[Chart], folder: Path) -> None:
    """Write the numbers of every figure beside its page: NAME.json and NAME.csv."""
    drawn = [chart for chart in charts if chart.drawing]
    refuse_link(folder)
    if drawn:
        folder.mkdir(exist_ok=True)
    for chart in drawn:
        write_text(folder / f"{chart.name}.json", numbers_json(chart))
        write_text(folder / f"{chart.name}.csv", numbers_csv(chart))


def ends(points: Sequence[tuple[int, str]], unit: str = "iteration") -> str:
    """First and last point of a line in words."""
    (first, at_first), (last, at_last) = points[0], points[-1]
    said = f"{at_first} at {unit} {first:,}"
    return said if first == last else f"{said}, {at_last} at {unit} {last:,}"


def count_axis(axes: Axes, label: str) -> None:
    """A horizontal axis of whole numbers."""
    axes.set_xlabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def value_axis(axes: Axes, logarithmic: bool) -> None:
    """A vertical axis whose ticks are plain numbers."""
    if logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.yaxis.set_major_formatter(ScalarFormatter(useOffset=False))
