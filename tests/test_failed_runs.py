"""A run that ended as planned but failed says so on the terminal, in the record and on the page."""

from pathlib import Path

import pytest

from ddspec import api
from ddspec.cli.texts.outcome import print_run
from ddspec.verification.checks import verify


@pytest.mark.slow
def test_exploded_images_are_a_warning_everywhere(smoke: Path, tmp_path: Path, capsys):
    loaded = api.load(smoke, ("synthetic.images.lr=1e12", "synthetic.student_lr.lr=0"))
    run = api.run(api.compile(loaded, store=tmp_path / "store"), runs=tmp_path / "runs")
    assert run.record.outcome.status == "done"
    exploded = next(sign for sign in run.record.warnings if sign.kind == "exploded_pixels")
    assert exploded.text.startswith("Pixels of the set reach")
    print_run(run)
    assert f"warning: {exploded.text}" in capsys.readouterr().err
    page = run.report.read_text()
    assert f'<strong class="warn">Warning</strong> {exploded.text}' in page
    assert "<code>--set synthetic.images.lr=1e12</code>" in page


@pytest.mark.parametrize("field", ["warnings", "extremes"])
@pytest.mark.slow
def test_removed_warning_is_found(smoke: Path, tmp_path: Path, field):
    loaded = api.load(smoke, ("synthetic.images.lr=1e12", "synthetic.student_lr.lr=0"))
    run = api.run(api.compile(loaded, store=tmp_path / "store"), runs=tmp_path / "runs")
    record = run.folder / "record.json"
    forged = run.record.model_copy(update={field: () if field == "warnings" else None})
    record.write_text(forged.model_dump_json(indent=1))
    findings = list(verify(run.folder, store=tmp_path / "store", evaluate=False))
    faults = [finding.what for finding in findings if finding.verdict == "fault"]
    assert any(field in what for what in faults), faults
