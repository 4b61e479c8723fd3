"""The Sphinx extension: it writes the reference, lists the pages of a section, renders formulas."""

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.directives.other import TocTree

from docs.generate.formulas import add_renderer
from docs.generate.pages import write_pages

REFERENCE = "reference"
"""Folder of the generated pages beside conf.py; git ignores it."""

MARKDOWN_LINK = re.compile(r"\]\((?P<path>\.\./[^)#\s]*\.md)(?:#[^)\s]*)?\)")
"""The target of a link to a Markdown file in another folder, with the name of a heading in it."""


class SectionPages(TocTree):
    """A table of contents of all pages in the folder: first those that it names, then the others.

    Unlike a toctree with globs it may be empty, and it may order pages that are not written yet.
    """

    content: StringList

    def run(self) -> list[nodes.Node]:
        """Return the nodes of the table of contents."""
        here = Path(self.env.doc2path(self.env.current_document.docname))
        pages = sorted(path.stem for path in here.parent.glob("*.md") if path != here)
        named = list(self.content)
        first = [name for name in named if name in pages]
        self.content = StringList([*first, *(name for name in pages if name not in first)])
        self.env.note_reread()  # A page may be added without a change of this one.
        return super().run()


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    add_renderer(app)
    app.add_directive("section-pages", SectionPages)
    app.connect("builder-inited", write_reference)
    app.connect("source-read", download_outside)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def download_outside(app: Sphinx, docname: str, source: list[str]) -> None:
    """Make links to Markdown files outside the site downloads, as links to other files are."""
    folder = Path(app.env.doc2path(docname)).parent

    def with_scheme(link: re.Match[str]) -> str:
        inside = (folder / link["path"]).resolve().is_relative_to(app.srcdir)
        return link[0] if inside else f"](path:{link['path']})"

    source[0] = MARKDOWN_LINK.sub(with_scheme, source[0])


def write_reference(app: Sphinx) -> None:
    """Write the reference pages of this version of ddspec."""
    write_pages(Path(app.srcdir) / REFERENCE)
