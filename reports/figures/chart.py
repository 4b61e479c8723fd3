"""A figure of a report: a drawing, its caption, and its numbers.

No number is dropped. The table under a figure shows at most SHOWN_ROWS rows; the files
beside the page and the buttons under the figure give all rows, as JSON and as CSV.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, ScalarFormatter

from ddspec.dsl.atomic_write import write_text
from ddspec.dsl.table_text import Cell, csv_text
from ddspec.reports.embed import json_for_script
from ddspec.reports.figures.svg import Drawing
from ddspec.reports.files import refuse_link
from ddspec.reports.format import comma_separated, evenly_spaced_indices, significant

SHOWN_ROWS = 25
"""Most rows of the table under a figure."""


def value_text(value: Any) -> str:
    """Return a value as the table under a figure shows it by default."""
    match value:
        case None:
            return ""
        case int():
            return f"{value:,}"
        case float():
            return significant(value)
        case tuple():
            return comma_separated(value)
        case _:
            return str(value)


@dataclass(frozen=True)
class Column:
    """One column of a figure's numbers."""

    name: str
    values: Sequence[Cell]
    write: Callable[[Any], str] = value_text
    """Turns a value into the text of a table cell; None becomes an empty cell."""
    shown: bool = True
    """Whether the table under the figure has this column."""
    traced: bool = False
    """Whether the pointer marks the values of this column in the drawing.

    They are then y values; the first column of the chart holds the x values."""


@dataclass(frozen=True)
class LegendEntry:
    """An entry of a legend; `kind` is the CSS class of its mark."""

    kind: str
    text: str


@dataclass(frozen=True)
class Chart:
    """A figure as the page shows it; `drawing` is None if there is nothing to draw."""

    name: str
    title: str
    caption: str
    drawing: Drawing | None = None
    legend: tuple[LegendEntry, ...] = ()
    columns: tuple[Column, ...] = ()
    """Columns of equal length; the first one identifies the row."""
    noun: str = "rows"
    """What a row stands for, in the plural."""
    shift: float = 0.0
    """Offset of a row in the drawing from its x value, in units of the x axis."""
    empty: str = "The record holds no values for this figure."
    """Sentence that stands in place of a missing drawing."""

    @property
    def svg(self) -> Markup:
        """Return the SVG of the drawing; empty if there is no drawing."""
        return self.drawing.svg if self.drawing else Markup("")

    @property
    def row_count(self) -> int:
        """Return the number of rows in the columns."""
        return len(self.columns[0].values) if self.columns else 0

    @property
    def shown_columns(self) -> list[Column]:
        """Return the columns of the table under the figure."""
        return [column for column in self.columns if column.shown]

    @property
    def shown_rows(self) -> list[list[str]]:
        """Return the rows of the table: at most SHOWN_ROWS, evenly spaced."""
        return [
            [
                "" if column.values[row] is None else column.write(column.values[row])
                for column in self.shown_columns
            ]
            for row in evenly_spaced_indices(self.row_count, SHOWN_ROWS)
        ]

    @property
    def excerpt(self) -> str:
        """Return how many rows the table shows of how many; empty if it shows all."""
        if self.row_count <= SHOWN_ROWS:
            return ""
        return f"{SHOWN_ROWS} of {self.row_count:,} {self.noun}"

    @property
    def embedded_json(self) -> Markup:
        """Return numbers and frame as JSON for the script of the page."""
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
    """Return all numbers of a figure as JSON, by column."""
    columns = {
        "title": chart.title,
        "shows": chart.caption,
        "columns": {column.name: column.values for column in chart.columns},
    }
    return json.dumps(columns, ensure_ascii=False, indent=1) + "\n"


def numbers_csv(chart: Chart) -> str:
    """Return all numbers of a figure as CSV with a header line."""
    rows = ([column.values[row] for column in chart.columns] for row in range(chart.row_count))
    return csv_text([column.name for column in chart.columns], rows)


def number_files(charts: Sequence[Chart]) -> dict[str, str]:
    """Return NAME.json and NAME.csv of every figure that has a drawing, by file name."""
    files: dict[str, str] = {}
    for chart in charts:
        if chart.drawing:
            files[f"{chart.name}.json"] = numbers_json(chart)
            files[f"{chart.name}.csv"] = numbers_csv(chart)
    return files


def write_numbers(charts: Sequence[Chart], folder: Path) -> None:
    """Write the numbers of every figure that has a drawing.

    Raises RecordError if the folder is a symbolic link.
    """
    files = number_files(charts)
    refuse_link(folder)
    if files:
        folder.mkdir(exist_ok=True)
    for name, text in files.items():
        write_text(folder / name, text)


def describe_ends(points: Sequence[tuple[int, str]], unit: str = "iteration") -> str:
    """Return the first and last point of a line in words.

    A point is its x value and the text of its y value; `unit` names the x axis.
    """
    (first_x, first_text), (last_x, last_text) = points[0], points[-1]
    start = f"{first_text} at {unit} {first_x:,}"
    return start if first_x == last_x else f"{start}, {last_text} at {unit} {last_x:,}"


def format_count_axis(axes: Axes, label: str) -> None:
    """Label the horizontal axis and give it whole numbers as ticks."""
    axes.set_xlabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def format_value_axis(axes: Axes, logarithmic: bool) -> None:
    """Write the ticks of the vertical axis without offset or exponent."""
    if logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.yaxis.set_major_formatter(ScalarFormatter(useOffset=False))
