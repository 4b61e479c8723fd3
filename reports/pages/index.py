"""The page of a folder of runs: a sortable list of all of them."""

from pathlib import Path

from ddspec.dsl.atomic_write import write_text
from ddspec.reports.files import refuse_foreign_page
from ddspec.reports.pages.run_list import list_runs
from ddspec.reports.pages.template import page_template

INDEX = "index.html"
INDEX_GENERATOR = "ddspec index"


def render_index(folder: Path) -> Path:
    """Write index.html into a folder of runs; return its path.

    Runs that cannot be read are listed with the reason. Raises RecordError if the folder holds no
    run, or an index.html that ddspec did not write.
    """
    page = folder / INDEX
    refuse_foreign_page(page, INDEX_GENERATOR, hint="move it away")
    listed = list_runs(folder)
    text = page_template("index.html").render(
        generator=INDEX_GENERATOR, runs=listed.runs, sweeps=listed.sweeps, unread=listed.unread
    )
    return write_text(page, text)
