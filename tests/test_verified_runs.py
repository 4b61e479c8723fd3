"""Runs of sweeps and previews, and runs that diverged or were stopped, are what they say."""

import json
from pathlib import Path

import pytest

import ddspec
from ddspec.dsl.diagnostics import RecordError
from ddspec.dsl.parsing.loader import load_spec_or_sweep
from ddspec.engine.control import Control, Interrupted
from ddspec.reports.pages.run import render_run
from ddspec.sweeps import compile_sweep, run_sweep
from ddspec.verification import verify

SMOKE = Path(__file__).parent / "smoke.toml"
SHORT = ["matching.iterations=2", "experts.count=1", "evaluation.repeats=1"]


def unsound(run: Path) -> dict[str, tuple[str, str]]:
    """Return verdict and detail of every check of a run that is not in order."""
    checks = verify(run, store=run.parent.parent / "store", evaluate=False)
    unsound = {check.what: (check.verdict, check.detail) for check in checks}
    del unsound["accuracy from synthetic.h5"]
    return {what: found for what, found in unsound.items() if found[0] != "ok"}


def run_of(tmp_path: Path, options: list[str], **keywords) -> Path:
    """Run the smoke spec with options; return the run folder."""
    loaded = ddspec.load(SMOKE, options)
    preview = keywords.pop("preview", False)
    compiled = ddspec.compile(loaded, store=tmp_path / "store", preview=preview)
    return ddspec.run(compiled, runs=tmp_path / "runs", **keywords).folder


@pytest.mark.slow
def test_runs_of_a_sweep_are_what_they_say(tmp_path: Path):
    path = tmp_path / "sweep.toml"
    axes = '[sweep]\n"matching.syn_steps" = [1, 2]\n[[sweep.cases]]\nname = "plain"\n'
    path.write_text(f"{SMOKE.read_text()}\n{axes}")
    sweep = compile_sweep(load_spec_or_sweep(path, SHORT), store=tmp_path / "store")
    record = run_sweep(sweep, runs=tmp_path / "runs").record
    runs = [tmp_path / "runs" / run.folder for run in record.runs]
    for run in runs:
        assert set(unsound(run)) == {"overrides one by one", "the rest of the record"}
    document = json.loads((runs[0] / "record.json").read_text())
    document["overrides"][-1] = "--set matching.syn_steps=2"
    (runs[0] / "record.json").write_text(json.dumps(document))
    assert unsound(runs[0])["spec, overrides and resolved spec"][0] == "fault"


@pytest.mark.slow
def test_run_of_a_sweep_with_a_swept_key_set_is_what_it_says(tmp_path: Path):
    path = tmp_path / "sweep.toml"
    path.write_text(f'{SMOKE.read_text()}\n[sweep]\nseed = [0, 1]\n"matching.syn_steps" = [1, 2]\n')
    sweep = compile_sweep(load_spec_or_sweep(path, [*SHORT, "seed=2"]), store=tmp_path / "store")
    record = run_sweep(sweep, runs=tmp_path / "runs").record
    assert [axis.name for axis in record.axes] == ["matching.syn_steps"]
    for run in record.runs:
        found = unsound(tmp_path / "runs" / run.folder)
        assert set(found) == {"overrides one by one", "the rest of the record"}
    loaded = ddspec.load(path, [*SHORT, "matching.syn_steps=2", "seed=2"])
    chosen = ddspec.compile(loaded, store=tmp_path / "store")
    folder = ddspec.run(chosen, runs=tmp_path / "alone").folder
    assert set(unsound(folder)) == {"the rest of the record"}
    steps = json.loads((folder / "record.json").read_text())["steps"]
    assert {step["status"] for step in steps} == {"reused"}


@pytest.mark.slow
def test_preview_is_what_it_says(tmp_path: Path):
    run = run_of(tmp_path, SHORT, preview=True)
    assert set(unsound(run)) == {
        *("the sizes of the preview", "overrides one by one", "the rest of the record")
    }
    document = json.loads((run / "record.json").read_text())
    document["plan"]["preview"] = document["plan"]["preview"][:-1]
    (run / "record.json").write_text(json.dumps(document))
    assert unsound(run)["spec, overrides and resolved spec"][0] == "fault"


@pytest.mark.slow
def test_run_with_representative_images_and_learned_labels_is_what_it_says(tmp_path, ingredients):
    run = run_of(tmp_path, [*ingredients, "matching.iterations=2"])
    assert set(unsound(run)) == {"the rest of the record"}
    document = json.loads((run / "record.json").read_text())
    document["clusters"], document["soft_labels"] = [], None
    (run / "record.json").write_text(json.dumps(document))
    render_run(run)
    assert unsound(run)["pictures that the record names"][0] == "fault"


@pytest.mark.slow
def test_run_that_diverged_is_what_it_says(tmp_path: Path):
    run = run_of(tmp_path, ["synthetic.student_lr.lr=1e6"])
    document = json.loads((run / "record.json").read_text())
    assert document["outcome"]["status"] == "diverged"
    assert [what for what, (verdict, _) in unsound(run).items() if verdict == "fault"] == []
    document["outcome"]["cause"] = "the weather"
    (run / "record.json").write_text(json.dumps(document))
    (what,) = [what for what in unsound(run) if what.startswith("outcome")]
    assert unsound(run)[what][0] == "fault"


def test_run_that_was_stopped_is_not_at_fault(tmp_path: Path):
    control = Control()

    def stop(progress):
        if progress.step == "experts" and progress.done:
            control.stopped_by = 2

    control.report = stop
    with pytest.raises(Interrupted):
        run_of(tmp_path, SHORT, control=control)
    (run,) = (tmp_path / "runs").iterdir()
    checks = unsound(run)
    assert [what for what, (verdict, _) in checks.items() if verdict == "fault"] == []
    assert "status of each step" in checks
    with pytest.raises(RecordError):
        ddspec.reproduce(run / "record.json", to=tmp_path / "again")
