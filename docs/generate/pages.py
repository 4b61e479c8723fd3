"""All reference pages, and how they are written for Sphinx to read."""

from pathlib import Path

from docs.generate.code_pages import codes_page
from docs.generate.command_pages import commands_page
from docs.generate.format_pages import format_pages
from docs.generate.key_pages import key_pages
from docs.generate.markdown import page, toctree
from docs.generate.python_page import python_page
from docs.generate.spec_pages import specs_page

INTRODUCTION = """\
The reference is generated from ddspec itself when this site is built, so that it says what this
version does."""


def reference_pages() -> dict[str, str]:
    """Return the text of every reference page by its path below the folder of the reference."""
    order = ("keys/index", "codes", "commands", "python", "formats/index", "specs")
    return {
        "index.md": page("# Reference", INTRODUCTION, toctree(order, depth=2)),
        **dict(key_pages()),
        "codes.md": codes_page(),
        "commands.md": commands_page(),
        "python.md": python_page(),
        **dict(format_pages()),
        "specs.md": specs_page(),
    }


def write_pages(folder: Path) -> None:
    """Write every reference page into a folder, and delete pages that are no longer made.

    Pages that did not change are left alone, so that Sphinx does not read them again.
    """
    pages = reference_pages()
    for name, text in pages.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    for path in folder.rglob("*.md"):
        if path.relative_to(folder).as_posix() not in pages:
            path.unlink()
