"""The list of all runs: what is there, what cannot be read, nothing lost."""

from pathlib import Path

import pytest

from ddspec.dsl.diagnostics import RecordError
from ddspec.dsl.record.record import Record
from ddspec.reports.pages.index import gathered, render_index
from ddspec.reports.pages.run import render_run


def test_runs_sweeps_and_the_unreadable_are_listed(
    run_folder: Path, sweep_folder: Path, record: Record
):
    folder = run_folder.parent
    (folder / "half-00000000").mkdir()
    (folder / "half-00000000" / "plan.json").write_text("{}")
    (folder / "broken-00000000").mkdir()
    (folder / "broken-00000000" / "record.json").write_text("{<b>")
    (folder / "notes").mkdir()
    render_run(run_folder)

    runs, sweeps, unread = gathered(folder)
    (row,) = runs
    assert (row.folder, row.name, row.ipc, row.has_page) == (run_folder.name, record.name, 1, True)
    gain = record.results.accuracy.mean - record.results.random_real["convnet"].mean
    assert float(row.gain_points) == pytest.approx(gain, abs=0.01)
    assert row.gain.startswith(f"{gain:+.1f} \N{PLUS-MINUS SIGN} ")
    assert row.published == record.compared[0].verdict
    assert [sweep.name for sweep in sweeps] == ["swept"]
    assert not sweeps[0].has_page
    assert [name for name, _ in unread] == ["broken-00000000", "half-00000000"]

    page = render_index(folder)
    text = page.read_text()
    assert page.name == "index.html"
    assert f'href="{run_folder.name}/report.html"' in text
    assert f'href="{sweep_folder.name}/report.html"' not in text
    assert "<img src=x" not in text
    assert render_index(folder).read_text() == text


def test_a_folder_without_runs_and_a_foreign_page_are_refused(tmp_path: Path, run_folder: Path):
    with pytest.raises(RecordError, match="contains no run"):
        render_index(run_folder / "images")
    foreign = run_folder.parent / "index.html"
    foreign.write_text("mine")
    with pytest.raises(RecordError, match="was not written by ddspec index"):
        render_index(run_folder.parent)
    assert foreign.read_text() == "mine"
