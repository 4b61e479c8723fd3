"""Reference pages of the file formats, from the models and from the modules that own a format."""

from collections.abc import Iterator

from pydantic import BaseModel

from ddspec.cli.progress.events import Event
from ddspec.dsl.plan.steps import Plan
from ddspec.dsl.record.record import Record
from ddspec.dsl.record.reproduction import Reproduction
from ddspec.dsl.record.sweep import SweepRecord
from docs.generate.markdown import page, toctree
from docs.generate.model_tables import sections
from docs.generate.prose import docstring_markdown, module_docstring

DOCUMENTS: dict[str, tuple[str, str, type[BaseModel]]] = {
    "plan": ("plan.json", "ddspec.dsl.plan.steps", Plan),
    "record": ("record.json", "ddspec.dsl.record.record", Record),
    "sweep": ("sweep.json", "ddspec.dsl.record.sweep", SweepRecord),
    "reproduction": ("reproduction.json", "ddspec.dsl.record.reproduction", Reproduction),
    "events": ("events.jsonl", "ddspec.cli.progress.events", Event),
}
"""Page -> title, module whose docstring introduces it, document."""

TEXTS: dict[str, tuple[str, dict[str, str]]] = {
    "run_folder": ("Run folder", {"": "ddspec.dsl.record.file_names"}),
    "synthetic": ("synthetic.h5", {"": "ddspec.engine.exchange.synthetic_file"}),
    "exports": ("Exports", {"": "ddspec.engine.exchange.export"}),
    "store": (
        "Store",
        {
            "": "ddspec.engine.store.store",
            "Kinds": "ddspec.engine.store.artifacts",
            "Checksums": "ddspec.engine.store.hdf5_file",
            "Provenance": "ddspec.engine.store.provenance",
            "Trajectories": "ddspec.engine.store.trajectory_file",
            "Evaluations": "ddspec.engine.store.evaluation_file",
            "Imported sets": "ddspec.engine.store.imported_set",
        },
    ),
}
"""Page -> title, and heading -> module whose docstring describes the format."""

ORDER = (
    *("run_folder", "plan", "record", "synthetic", "events", "sweep", "reproduction"),
    *("exports", "store"),
)


INTRODUCTION = """\
Plans and records are JSON, arrays are HDF5. Each states the number of its format, and ddspec
refuses a number that it does not know."""


def format_pages() -> Iterator[tuple[str, str]]:
    """Yield path and text of the page of each format."""
    yield "formats/index.md", page("# File formats", INTRODUCTION, toctree(ORDER))
    known: set[type[BaseModel]] = set()
    for name, (title, module, document) in DOCUMENTS.items():
        introduction = docstring_markdown(module_docstring(module))
        text = page(f"# {title}", introduction, *sections(document, known))
        yield f"formats/{name}.md", text
    for name, (title, modules) in TEXTS.items():
        parts = [part for heading, module in modules.items() for part in described(heading, module)]
        yield f"formats/{name}.md", page(f"# {title}", *parts)


def described(heading: str, module: str) -> Iterator[str]:
    """Yield a heading, if there is one, and the docstring of a module."""
    if heading:
        yield f"## {heading}"
    yield docstring_markdown(module_docstring(module))
