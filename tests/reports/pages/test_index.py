"""The list of all runs: what is there, what cannot be read, nothing lost."""

import shutil
from pathlib import Path

import pytest

from ddspec.dsl.diagnostics import RecordError
from ddspec.dsl.record.record import Record, WarningSign
from ddspec.reports.pages.index import render_index
from ddspec.reports.pages.run import render_run
from ddspec.reports.pages.run_list import list_runs


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

    listed = list_runs(folder)
    (row,) = listed.runs
    assert (row.folder, row.name, row.ipc, row.has_page) == (run_folder.name, record.name, 1, True)
    gain = record.results.accuracy.mean - record.results.random_real["convnet"].mean
    assert float(row.gain_points) == pytest.approx(gain, abs=0.01)
    assert row.gain.startswith(f"{gain:+.1f} \N{PLUS-MINUS SIGN} ")
    assert row.published == record.compared[0].verdict
    assert [sweep.name for sweep in listed.sweeps] == ["swept"]
    assert not listed.sweeps[0].has_page
    assert [name for name, _ in listed.unread] == ["broken-00000000", "half-00000000"]

    page = render_index(folder)
    text = page.read_text()
    assert page.name == "index.html"
    assert f'href="{run_folder.name}/report.html"' in text
    assert f'href="{sweep_folder.name}/report.html"' not in text
    assert "<img src=x" not in text
    assert render_index(folder).read_text() == text


def test_runs_of_one_spec_are_told_apart(run_folder: Path, record: Record):
    other = run_folder.parent / "other-00000000"
    shutil.copytree(run_folder, other)
    plan = record.plan.model_copy(update={"digest": "9" * 32})
    changed = record.model_copy(update={"plan": plan, "overrides": ("--set seed=3",)})
    (other / "record.json").write_text(changed.model_dump_json())

    runs = list_runs(run_folder.parent).runs
    assert {(row.digest, row.changes) for row in runs} == {
        (record.plan.digest[:8], record.overrides),
        ("9" * 8, ("seed=3",)),
    }
    text = render_index(run_folder.parent).read_text()
    assert '<code class="change">seed=3</code>' in text


def rewritten(run_folder: Path, record: Record, **changes: object) -> str:
    """The list of runs after the record of the only one has changed."""
    (run_folder / "record.json").write_text(record.model_copy(update=changes).model_dump_json())
    return render_index(run_folder.parent).read_text()


def test_accuracy_of_a_preview_is_marked_and_has_no_gain(run_folder: Path, record: Record):
    assert "of a preview" not in render_index(run_folder.parent).read_text()
    plan = record.plan.model_copy(update={"preview": ("matching.iterations: 300 -> 3",)})
    text = rewritten(run_folder, record, plan=plan)

    (row,) = list_runs(run_folder.parent).runs
    assert (row.gain, row.gain_points) == ("", "")
    assert f'<span class="quiet">{row.accuracy}<br>of a preview</span>' in text


def test_signs_of_a_failed_run_are_warnings(run_folder: Path, record: Record):
    signs = (WarningSign(kind="at_chance", text="x"), WarningSign(kind="exploded_pixels", text="y"))
    text = rewritten(run_folder, record, warnings=signs)
    for words in ("at chance", "exploded pixels"):
        assert f'<strong class="warn sign">{words}</strong>' in text


def test_every_run_has_a_thumbnail_unless_its_images_are_damaged(run_folder: Path):
    (row,) = list_runs(run_folder.parent).runs
    assert row.thumbnail is not None
    assert row.thumbnail.alt == "10 synthetic images"
    assert row.thumbnail.uri in render_index(run_folder.parent).read_text()

    (row,) = list_runs(run_folder.parent, thumbnails=False).runs
    assert row.thumbnail is None
    (run_folder / "images" / "000300.png").write_bytes(b"no image")
    listed = list_runs(run_folder.parent)
    assert listed.runs[0].thumbnail is None
    assert listed.unread == []


def test_a_folder_without_runs_and_a_foreign_page_are_refused(tmp_path: Path, run_folder: Path):
    with pytest.raises(RecordError, match="contains no run"):
        render_index(run_folder / "images")
    foreign = run_folder.parent / "index.html"
    foreign.write_text("mine")
    with pytest.raises(RecordError, match="was not written by ddspec index"):
        render_index(run_folder.parent)
    assert foreign.read_text() == "mine"
