"""Sweeps from file to page: shared work once, separate failures, resumed stops."""

import json
from contextlib import contextmanager
from pathlib import Path

import pytest

from ddspec.dsl.parsing.loader import load_spec_or_sweep
from ddspec.dsl.record.sweep import SweepRecord
from ddspec.engine.control import Control, Interrupted
from ddspec.reports.pages.sweep import render_sweep
from ddspec.sweeps import compile_sweep, run_sweep

AXES = """
[sweep]
"matching.syn_steps" = [2, 3]

[[sweep.cases]]
name = "plain"

[[sweep.cases]]
name = "<b>fast</b>"
after = "plain"
"synthetic.images.lr" = 20.0
"""


@pytest.fixture
def sweep(smoke, tmp_path):
    path = tmp_path / "sweep.toml"
    path.write_text(smoke.read_text() + AXES)
    return path


def last_line(answer):
    return Path(answer.stdout.strip().splitlines()[-1])


def record_in(folder):
    return SweepRecord.model_validate_json((folder / "sweep.json").read_bytes())


@pytest.mark.slow
def test_sweep_runs_every_combination_and_trains_shared_experts_once(cli, sweep, tmp_path):
    planned = cli("plan", sweep)
    assert "syn_steps = 3, plain" in planned.stdout
    plans = json.loads(cli("plan", sweep, "--json").stdout)["runs"]
    assert plans[0]["label"] == "syn_steps = 2, plain"
    answer = cli("run", sweep)
    assert answer.returncode == 0, answer.stderr
    folder = last_line(answer)
    record = record_in(tmp_path / folder)
    assert [run.status for run in record.runs] == ["done"] * 4
    assert len({run.folder for run in record.runs}) == 4
    assert len([*(tmp_path / ".ddspec" / "store" / "expert").glob("*.h5")]) == 3
    assert record.runs[1].settings == {"matching.syn_steps": 2, "synthetic.images.lr": 20.0}
    for run in record.runs:
        assert (tmp_path / "runs" / run.folder / "report.html").exists()
    assert "nothing to do" in cli("plan", sweep).stdout
    again = cli("run", sweep)
    assert last_line(again) == folder
    assert [run.accuracy for run in record_in(tmp_path / folder).runs] == [
        run.accuracy for run in record.runs
    ]


@pytest.mark.slow
def test_page_of_a_sweep_shows_gains_and_escapes_labels(cli, sweep, tmp_path):
    folder = tmp_path / last_line(cli("run", sweep))
    page = (folder / "report.html").read_text()
    record = record_in(folder)
    gain = record.runs[3].accuracy.mean - record.runs[2].accuracy.mean
    assert f"{gain:+.2f}".replace("-", "\N{MINUS SIGN}") in page
    assert "syn_steps = 3, plain" in page
    assert "<b>fast" not in page
    assert "&lt;b&gt;fast" in page
    assert "Test accuracy over matching.syn_steps" in page
    render_sweep(folder)
    assert (folder / "report.html").read_text() == page


@pytest.mark.slow
def test_page_of_one_run_of_a_sweep_tells_how_to_repeat_it(cli, sweep, tmp_path):
    folder = tmp_path / last_line(cli("run", sweep))
    run_folder = tmp_path / "runs" / record_in(folder).runs[0].folder
    assert "ddspec run resolved.toml" in (run_folder / "report.html").read_text()
    again = cli("run", run_folder / "resolved.toml")
    assert again.returncode == 0
    assert last_line(again).name == run_folder.name


@pytest.mark.slow
def test_diverged_run_stops_the_others_only_on_request(cli, smoke, tmp_path):
    path = tmp_path / "sweep.toml"
    path.write_text(smoke.read_text() + '[sweep]\n"synthetic.student_lr.lr" = [1e6, 1e-7]\n')
    answer = cli("run", path)
    assert answer.returncode == 1
    runs = record_in(tmp_path / last_line(answer)).runs
    assert [run.status for run in runs] == ["diverged", "done"]
    assert "not finite" in runs[0].cause
    elsewhere = ("--store", tmp_path / "other", "--runs", tmp_path / "other_runs")
    answer = cli("run", path, "--stop-on-failure", *elsewhere)
    runs = record_in(last_line(answer)).runs
    assert [run.status for run in runs] == ["diverged", "not run"]


@pytest.mark.slow
def test_stopped_sweep_continues_and_ends_with_the_same_numbers(sweep, tmp_path):
    def compiled(name):
        return compile_sweep(load_spec_or_sweep(sweep), store=tmp_path / name / "store")

    complete = run_sweep(compiled("complete"), runs=tmp_path / "complete" / "runs").record
    started = []

    @contextmanager
    def stopping(plan):
        control = Control()
        started.append(plan.plan.folder)
        if len(started) == 3:
            control.stopped_by = 15
        yield control

    runs = tmp_path / "stopped" / "runs"
    with pytest.raises(Interrupted):
        run_sweep(compiled("stopped"), runs=runs, watching=stopping)
    (folder,) = runs.glob("*-sweep-*")
    assert [run.status for run in record_in(folder).runs][:2] == ["done", "done"]
    resumed = run_sweep(compiled("stopped"), runs=runs).record
    assert [run.accuracy for run in resumed.runs] == [run.accuracy for run in complete.runs]


@pytest.mark.slow
def test_damaged_record_of_a_sweep_neither_stops_nor_enters_the_next_one(cli, sweep, tmp_path):
    """Entries that are cut off, a run of another plan, and accuracies without networks."""
    folder = tmp_path / "runs"
    assert cli("run", sweep, "--runs", folder).returncode == 0
    (path,) = folder.glob("*-sweep-*/sweep.json")
    whole = json.loads(path.read_text())
    runs = whole["runs"]
    runs[0]["entries"], runs[0]["label"] = [], "forged"
    runs[1]["digest"] = "f" * 32
    runs[1]["accuracy"]["mean"] = 99.0
    runs[2]["accuracy"]["values"] = []
    path.write_text(json.dumps(whole))
    answer = cli("run", sweep, "--runs", folder)
    assert answer.returncode == 0, answer.stderr
    again = json.loads(path.read_text())["runs"]
    assert "forged" not in {run["label"] for run in again}
    assert again[1]["accuracy"]["mean"] != 99.0
    assert again[2]["accuracy"]["values"]
    assert all(run["entries"] for run in again)


def test_check_counts_runs_and_a_damaged_sweep_is_reported(cli, sweep, tmp_path):
    assert "sweep.toml (4 runs): no errors" in cli("check", sweep).stdout
    folder = tmp_path / "runs" / "x"
    folder.mkdir(parents=True)
    (folder / "sweep.json").write_text("{}")
    answer = cli("report", folder)
    assert answer.returncode == 5
    assert "sweep.json is damaged" in answer.stderr


OVER_SEEDS = """
[[expect]]
accuracy = 97.0
std = 0.5
n = 100
choose = "last"
over = "sweep"
source = "a paper's table"

[sweep]
seed = [3, 4]
"""


def test_sweep_over_seeds_is_one_result_with_both_spreads(cli, smoke, tmp_path):
    path = tmp_path / "seeds.toml"
    path.write_text(smoke.read_text() + OVER_SEEDS)
    answer = cli("run", path)
    assert answer.returncode == 0, answer.stderr
    folder = tmp_path / last_line(answer)
    (group,) = record_in(folder).groups
    runs = record_in(folder).runs
    assert group.accuracy.values == (*runs[0].accuracy.values, *runs[1].accuracy.values)
    assert f"over {group.accuracy.n} networks, +- {group.std_over_sets:.2f} over 2 sets" in (
        answer.stdout
    )
    assert "published 97 % (a paper's table)" in answer.stdout
    page = (folder / "report.html").read_text()
    assert "Over seeds" in page and f">{group.std_over_sets:.2f}<" in page
    single = (tmp_path / "runs" / runs[0].folder / "report.html").read_text()
    assert "the page of the sweep compares" in single
