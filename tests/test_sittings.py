"""Runs in several calls: a finished run stays as it is, a continued one keeps all its costs."""

import hashlib
import signal
from pathlib import Path

import h5py
import pytest

import ddspec
from ddspec.dsl.record.agreement import reasons_bits_may_differ
from ddspec.engine.control import Control, Interrupted

SMOKE = Path(__file__).parent / "smoke.toml"


def compiled(folder: Path, spec: Path = SMOKE, *overrides: str) -> ddspec.CompiledSpec:
    """Return the smoke spec with its store in a folder."""
    return ddspec.compile(ddspec.load(spec, overrides), store=folder / "store")


def contents(folder: Path) -> dict[str, str]:
    """Return the hash of every file in a folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def stopping_in(step: str) -> Control:
    """Return a control that stops the run when a step has done something."""
    control = Control()

    def report(progress):
        if progress.step == step and progress.done:
            control.stopped_by = signal.SIGTERM

    control.report = report
    return control


def test_finished_run_is_not_touched_and_says_so(tmp_path: Path, cli):
    arguments = ("run", SMOKE, "--store", tmp_path / "store", "--runs", tmp_path / "runs")
    first = cli(*arguments)
    before = contents(tmp_path / "runs")
    second = cli(*arguments)
    assert contents(tmp_path / "runs") == before
    message, *results = second.stdout.splitlines()
    assert message.startswith("done already on 20")
    assert results == first.stdout.splitlines()


def test_run_of_two_sittings_keeps_the_costs_of_both(tmp_path: Path):
    with pytest.raises(Interrupted):
        ddspec.run(compiled(tmp_path), runs=tmp_path / "runs", control=stopping_in("distill"))
    (folder,) = (tmp_path / "runs").iterdir()
    first = ddspec.open_run(folder).record
    second = ddspec.run(compiled(tmp_path), runs=tmp_path / "runs").record
    assert [sitting.status for sitting in second.sittings] == ["interrupted", "done"]
    assert second.sittings[0] == first.sittings[0]
    before, after = ({step.id: step for step in record.steps} for record in (first, second))
    assert before["experts"].seconds == after["experts"].seconds > 0
    assert after["experts"].status == "computed"
    assert after["distill"].seconds > before["distill"].seconds > 0
    costs = [sitting.steps["distill"].seconds for sitting in second.sittings]
    assert after["distill"].seconds == pytest.approx(sum(costs))
    assert after["distill"].computed == after["distill"].members


@pytest.mark.slow
def test_changed_comment_is_recorded_without_losing_who_made_the_run(tmp_path: Path):
    first = ddspec.run(compiled(tmp_path), runs=tmp_path / "runs")
    commented = tmp_path / "commented.toml"
    commented.write_text("# a remark\n" + SMOKE.read_text())
    second = ddspec.run(compiled(tmp_path, commented), runs=tmp_path / "runs")
    assert second.folder == first.folder
    assert second.repeated
    assert second.record.spec.startswith("# a remark")
    for part in ("date", "environment", "sittings", "steps", "results"):
        assert getattr(second.record, part) == getattr(first.record, part)


@pytest.mark.slow
def test_run_whose_artifacts_are_gone_is_a_new_run(tmp_path: Path):
    first = ddspec.run(compiled(tmp_path), runs=tmp_path / "runs").record
    elsewhere = ddspec.compile(ddspec.load(SMOKE), store=tmp_path / "another")
    second = ddspec.run(elsewhere, runs=tmp_path / "runs")
    assert not second.repeated
    assert len(second.record.sittings) == 1
    steps = {step.id: step for step in second.record.steps}
    assert all(steps[step.id].computed == step.computed for step in first.steps)


@pytest.mark.slow
def test_damaged_file_of_a_finished_run_is_written_again(tmp_path: Path):
    first = ddspec.run(compiled(tmp_path), runs=tmp_path / "runs")
    (first.folder / "synthetic.h5").write_bytes(b"")
    second = ddspec.run(compiled(tmp_path), runs=tmp_path / "runs")
    assert (second.folder / "synthetic.h5").stat().st_size > 0
    assert second.record.files == first.record.files


@pytest.mark.slow
def test_run_that_reused_everything_knows_the_makers_and_compares_bitwise(tmp_path: Path):
    first = ddspec.run(compiled(tmp_path), runs=tmp_path / "runs").record
    reused = ddspec.run(compiled(tmp_path), runs=tmp_path / "elsewhere").record
    assert {step.status for step in reused.steps} == {"reused"}
    for step in reused.steps:
        assert step.environments == (first.environment,)
        assert step.seconds == 0
        assert step.processor_seconds_when_made is not None
    assert list(reasons_bits_may_differ(reused, first)) == []
    assert list(reasons_bits_may_differ(first, reused)) == []


@pytest.mark.slow
def test_artifact_of_an_earlier_version_has_an_unknown_maker(tmp_path: Path):
    first = ddspec.run(compiled(tmp_path), runs=tmp_path / "runs").record
    for path in (tmp_path / "store" / "expert").glob("*.h5"):
        with h5py.File(path, "a") as file:
            for name in ("environments", "processor_seconds", "memory_bytes"):
                del file.attrs[name]
    reused = ddspec.run(compiled(tmp_path), runs=tmp_path / "elsewhere").record
    (experts,) = (step for step in reused.steps if step.id == "experts")
    assert experts.environments == ()
    assert experts.processor_seconds_when_made is None
    (reason,) = reasons_bits_may_differ(reused, first)
    assert reason == "the machine that made these artifacts of the record is not known: experts"
