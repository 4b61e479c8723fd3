"""Drawing: matplotlib figures as SVG that takes its colours from the page.

Figures are drawn in sentinel colours only. In the SVG each sentinel becomes a CSS
variable, so that the same drawing follows the light, dark and print styles of the page.
"""

import io
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, QUIET, LINE, ACCENT, PAPER = "#010101", "#020202", "#030303", "#040404", "#050505"
SIDE_BY_SIDE = tuple(f"#0601{number:02x}" for number in range(6))
"""Colours of lines shown side by side; their markers differ too."""
MARKERS = ("o", "s", "^", "D", "v", "P")
"""Their shapes are those of the legend in the style sheet, `.mark.beside-0` to `-5`."""
VARIABLES = {
    INK: "--ink",
    QUIET: "--quiet",
    LINE: "--line",
    ACCENT: "--accent",
    PAPER: "--paper",
    **{colour: f"--beside-{number}" for number, colour in enumerate(SIDE_BY_SIDE)},
}

FONT_SIZE = 10
"""Size of all text in a drawing; it is at least as large where a phone shrinks the drawing."""

MOST_POINTS = 1000
"""Most points of a drawn line; a page is not wide enough to show more."""

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": FONT_SIZE,
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "figure.facecolor": "none",
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.4,
    "patch.edgecolor": ACCENT,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
}


@dataclass(frozen=True)
class Frame:
    """The position of a drawing's axes in its viewBox, and the values at their ends."""

    left: float
    right: float
    top: float
    bottom: float
    low: tuple[float, float]
    """Values at the left end of the x axis and at the lower end of the y axis."""
    high: tuple[float, float]
    """Values at their other ends."""
    logarithmic: bool
    """Whether the vertical axis is logarithmic."""


@dataclass(frozen=True)
class Drawing:
    """A drawing as the page embeds it."""

    svg: Markup
    frame: Frame


def draw(
    name: str,
    label: str,
    plot: Callable[[Axes], None],
    size: tuple[float, float] = (4.8, 2.9),
) -> Drawing:
    """Return the drawing that `plot` makes on empty axes.

    `name` salts the identifiers in the SVG, which must differ between the figures of a
    page. `label` describes the drawing to readers who cannot see it; `size` is its
    width and height in inches.
    """
    with matplotlib.rc_context():
        # A user's matplotlibrc must not change the bytes of a report.
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({**STYLE, "svg.hashsalt": name})
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot()
        plot(axes)
        text = io.StringIO()
        with warnings.catch_warnings():
            # Matplotlib guesses the width of letters missing from its font; the browser draws
            # them with the page's font.
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            figure.savefig(text, format="svg", metadata={"Date": None})
    return Drawing(inline_svg(text.getvalue(), label), frame_of(axes, size))


def frame_of(axes: Axes, size: tuple[float, float]) -> Frame:
    """Return the position of the axes in a drawing of that size in inches."""
    position = axes.get_position()
    width, height = UNITS_PER_INCH * size[0], UNITS_PER_INCH * size[1]
    (x_low, x_high), (y_low, y_high) = axes.get_xlim(), axes.get_ylim()
    return Frame(
        left=round(position.x0 * width, 2),
        right=round(position.x1 * width, 2),
        top=round((1 - position.y1) * height, 2),
        bottom=round((1 - position.y0) * height, 2),
        low=(float(x_low), float(y_low)),
        high=(float(x_high), float(y_high)),
        logarithmic=axes.get_yscale() == "log",
    )


UNITS_PER_INCH = 72
"""Units of the viewBox per inch."""


def inline_svg(text: str, label: str) -> Markup:
    """Return the <svg> element of an SVG file for embedding in the page.

    The prolog, the metadata and the style sheet are dropped; the last would affect the
    page.
    """
    viewbox = re.search(r'viewBox="0 0 ([0-9.]+) [^"]*"', text)
    assert viewbox is not None
    body = text[text.index(">", text.index("<svg")) + 1 :]
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", body, flags=re.DOTALL)
    body = body.replace("xlink:href", "href")
    body = re.sub(r"font-family: [^;\"]*", "font-family: var(--sans)", body)
    for sentinel, variable in VARIABLES.items():
        body = body.replace(sentinel, f"var({variable})")
    referenced = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', body))
    body = re.sub(r' id="([^"]*)"', lambda match: match[0] if match[1] in referenced else "", body)
    body = re.sub(r"\s*\n\s*", "\n", body)
    opening = f'<svg class="chart" role="img" aria-label="{escape(label)}" {viewbox[0]} '
    # The style sheet reads the width that the drawing needs from this variable.
    opening += f'style="--units: {viewbox[1]}">'
    # Matplotlib has escaped the text in the drawing, and `label` is escaped here.
    return Markup(opening + body)


def downsample(
    xs: Sequence[float], ys: Sequence[float], most: int = MOST_POINTS
) -> tuple[list[float], list[float]]:
    """Return at most `most` points: both ends, and the extremes of each stretch.

    Averages or every k-th point would hide the peaks that readers look for.
    """
    count = len(ys)
    if count <= most:
        return list(xs), list(ys)
    stretches = (most - 2) // 2
    kept = {0, count - 1}
    for stretch in range(stretches):
        indices = range(count * stretch // stretches, count * (stretch + 1) // stretches)
        kept.add(min(indices, key=ys.__getitem__))
        kept.add(max(indices, key=ys.__getitem__))
    return [xs[i] for i in sorted(kept)], [ys[i] for i in sorted(kept)]


def spans_decades(values: Sequence[float]) -> bool:
    """Return whether all values are positive and span a factor of 100.

    Such values are drawn on a logarithmic axis.
    """
    return bool(values) and min(values) > 0 and max(values) >= 100 * min(values)
