"""Pages from run folders: reports, lists of runs, comparisons."""

from collections.abc import Sequence
from pathlib import Path

from ddspec.dsl.record.file_names import SWEEP_JSON
from ddspec.functions.loading import AnyPath, paths_of


def report(folder: AnyPath, *, assets: bool = False) -> Path:
    """Write the page of a run folder or a sweep's folder again; return its path.

    With `assets`, the images of a run go to files beside the page. Raises RecordError if the
    record is missing or damaged.
    """
    from ddspec.reports.pages.run import render_run
    from ddspec.reports.pages.sweep import render_sweep

    if (Path(folder) / SWEEP_JSON).exists():
        return render_sweep(Path(folder))
    return render_run(Path(folder), assets)


def index(folder: AnyPath = "runs") -> Path:
    """Write a page that lists all runs in a folder; return its path.

    Raises RecordError if there is none.
    """
    from ddspec.reports.pages.index import render_index

    return render_index(Path(folder))


def compare(
    folders: Sequence[AnyPath],
    *,
    to: AnyPath = "compare.html",
    leaderboard: AnyPath | None = None,
) -> Path:
    """Write a page that compares two or more run folders; return its path.

    With `leaderboard`, the leaderboard of their sets is written too, as .md, .tex or .csv.
    Raises RecordError if a folder holds no run, or if there are not two of them.
    """
    from ddspec.reports.pages.compare import render_compare, write_leaderboard

    runs = paths_of(folders)
    page = render_compare(runs, Path(to))
    if leaderboard is not None:
        write_leaderboard(runs, Path(leaderboard))
    return page
