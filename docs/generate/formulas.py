"""Formulas as SVG in the page, which need no script and no font."""

from xml.etree import ElementTree

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.writers.html5 import HTML5Translator
from ziamath.config import config
from ziamath.zmath import Latex

RENDERER = "svg"
FONT_SIZE = 16.0
"""Size of the text in pixels in which lengths are computed; they are written in units of it."""

# Shapes that are shared by name would be shared between all formulas of a page.
config.svg2 = False


def add_renderer(app: Sphinx) -> None:
    """Make this the renderer that `html_math_renderer` can name."""
    app.add_html_math_renderer(RENDERER, (visit_math, None), (visit_displaymath, None))


def visit_math(translator: HTML5Translator, node: nodes.math) -> None:
    """Write a formula within a line."""
    translator.body.append(formula(node, is_inline=True))
    raise nodes.SkipNode


def visit_displaymath(translator: HTML5Translator, node: nodes.math_block) -> None:
    """Write a formula that stands by itself."""
    translator.body.append(f'<div class="math">{formula(node, is_inline=False)}</div>')
    raise nodes.SkipNode


def formula(node: nodes.Element, is_inline: bool) -> str:
    """Return a formula as an SVG element on the baseline of its line, read aloud as its TeX.

    Raises ExtensionError if the formula is not understood.
    """
    tex = node.astext()
    try:
        drawn = Latex(tex, size=FONT_SIZE, color="currentColor", inline=is_inline).svgxml()
    except Exception as error:  # Each kind of error in a formula has its own type.
        raise ExtensionError(f"{node.source}:{node.line}: {tex!r} is no formula") from error
    _, top, width, height = (float(part) for part in drawn.attrib["viewBox"].split())
    drawn.set("width", f"{width / FONT_SIZE:.3f}em")
    drawn.set("height", f"{height / FONT_SIZE:.3f}em")
    drawn.set("style", f"vertical-align: {-(top + height) / FONT_SIZE:.3f}em")
    drawn.set("role", "img")
    drawn.set("aria-label", tex)
    return ElementTree.tostring(drawn, encoding="unicode")
