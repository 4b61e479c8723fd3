"""Runs of ddspec 0.1.0 can still be read, rendered, compared, verified and reproduced."""

import shutil
from pathlib import Path

import pytest

from ddspec.dsl.record.record import Record
from ddspec.reproduction import reproduce
from ddspec.verification import verify

OLDER_RUNS = sorted((Path(__file__).parent / "golden" / "0.1.0").iterdir())
"""A run with all stages, and one of an initial set alone, for which 0.1.0 trained an expert."""


@pytest.fixture(params=OLDER_RUNS, ids=lambda path: path.name)
def older_run(request, tmp_path: Path) -> Path:
    """A copy of the run folder."""
    return Path(shutil.copytree(request.param, tmp_path / request.param.name))


def record_of(folder: Path) -> Record:
    return Record.model_validate_json((folder / "record.json").read_bytes())


def test_older_plan_names_the_steps_that_each_step_needs():
    needs = {
        folder.name: {step.id: step.needs for step in record_of(folder).plan.steps}
        for folder in OLDER_RUNS
    }
    assert needs["smoke"] == {
        "dataset": (),
        "experts": ("dataset",),
        "initialise": ("dataset",),
        "distill": ("experts", "initialise"),
        "evaluate-convnet": ("distill",),
        "random-real-convnet": ("dataset",),
        "random-real-expert-labels-convnet": ("dataset", "experts"),
    }
    assert needs["coreset"] == needs["smoke"] | {"distill": ("initialise",)}


def test_older_run_has_no_fault(older_run: Path, tmp_path: Path):
    findings = list(verify(older_run, store=tmp_path / "no-store"))
    assert [f"{f.what}: {f.detail}" for f in findings if f.verdict == "fault"] == []
    assert findings[-1].what == "accuracy from synthetic.h5, convnet"
    assert findings[-1].verdict == "ok"


def test_older_run_reproduces(older_run: Path, tmp_path: Path):
    result = reproduce(older_run / "report.html", to=tmp_path / "again").reproduction
    assert {number.verdict for number in result.numbers} <= {"PASS", "NOT COMPARABLE"}
    again = next((tmp_path / "again").glob("*/runs/*"))
    assert record_of(again).plan.digest == record_of(older_run).plan.digest


def test_older_runs_render_and_compare(cli, tmp_path: Path):
    folders = [Path(shutil.copytree(run, tmp_path / run.name)).as_posix() for run in OLDER_RUNS]
    for arguments in (["report", folders[0]], ["report", folders[1]], ["compare", *folders]):
        answer = cli(*arguments)
        assert answer.returncode == 0, answer.stderr
