"""Progress of a run: within epochs, on the terminal, in run.log and in events.jsonl."""

import io
import json
from pathlib import Path

import pytest

from ddspec import api
from ddspec.cli.progress.events import ago
from ddspec.cli.progress.reporter import Reporter
from ddspec.engine import control
from ddspec.engine.control import Control, Progress
from ddspec.reports.format import progress_count

SMOKE = Path(__file__).parent / "smoke.toml"


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """Every report of a small run, by step, with progress within units reported each time."""
    folder = tmp_path_factory.mktemp("progress")
    loaded = api.load(SMOKE, ["experts.count=1", "evaluation.repeats=1"])
    compiled = api.compile(loaded, store=folder / "store", device="cpu")
    by_step: dict[str, list[Progress]] = {}
    told = Control(report=lambda progress: by_step.setdefault(progress.step, []).append(progress))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(control, "REPORT_EVERY_SECONDS", 0.0)
        api.run(compiled, runs=folder / "runs", control=told)
    return by_step


def test_progress_counts_within_epochs_and_networks_and_never_goes_back(reports):
    for step, unit in (
        ("experts", "epochs"),
        ("evaluate-convnet", "networks"),
        ("distill", "iterations"),
    ):
        done = [report.done for report in reports[step]]
        assert done == sorted(done)
        assert done[0] == 0 and done[-1] == reports[step][-1].total
        assert {report.unit for report in reports[step]} == {unit}
    for step in ("experts", "evaluate-convnet"):
        assert any(report.done % 1 for report in reports[step])


def test_every_step_is_reported_before_the_first_begins_and_ends_complete(reports):
    assert all(of_step[-1].done == of_step[-1].total for of_step in reports.values())
    assert {"dataset", "initialise"} < set(reports)


class Watched:
    """A reporter with a clock that the test moves, and what it printed."""

    def __init__(self, folder, monkeypatch, **settings):
        self.now, self.stream = 0.0, io.StringIO()
        monkeypatch.setattr("time.monotonic", lambda: self.now)
        self.reporter = Reporter(folder, stream=self.stream, **settings)

    def at(self, seconds, step, done, total, **figures):
        self.now = seconds
        self.reporter(Progress(step, done, total, figures, "epochs"))

    @property
    def lines(self):
        return [line.partition(" ")[2] for line in self.stream.getvalue().splitlines()]


def test_lines_have_units_speed_and_time_left_and_leave_out_what_is_reused(tmp_path, monkeypatch):
    watched = Watched(tmp_path / "run", monkeypatch)
    watched.at(0, "trajectory", 4, 4)
    watched.at(0, "experts", 1, 5)
    watched.at(100, "experts", 1, 5)
    watched.at(105, "experts", 1.5, 5, loss=0.25)
    watched.at(125, "experts", 3.5, 5, loss=0.125)
    watched.at(130, "experts", 5, 5)
    assert watched.lines == [
        "experts 1/5 epochs",
        "experts 3.5/5 epochs, 0.1/s, 15.0 s left, loss 0.125",
        "experts 5/5 epochs, 0.133/s",
    ]
    log = (tmp_path / "run" / "run.log").read_text().splitlines()
    assert [line.split(" ", 2)[2] for line in log] == watched.lines
    events = (tmp_path / "run" / "events.jsonl").read_text().splitlines()
    assert [json.loads(line)["done"] for line in events] == [4, 1, 1, 1.5, 3.5, 5]


def test_quiet_run_prints_messages_alone_and_logs_everything(tmp_path, monkeypatch):
    watched = Watched(tmp_path, monkeypatch, quiet=True)
    watched.at(0, "experts", 0, 2)
    watched.at(60, "experts", 2, 2)
    watched.reporter.tell("experts: another run is computing this")
    assert watched.lines == ["experts: another run is computing this"]
    assert "experts 2/2 epochs" in (tmp_path / "run.log").read_text()


def test_whole_run_is_as_far_as_the_estimated_time_of_its_steps(tmp_path, monkeypatch):
    watched = Watched(None, monkeypatch, estimated={"experts": 30.0, "distill": 10.0})
    with watched.reporter:
        watched.at(0, "experts", 0, 4)
        watched.at(0, "distill", 0, 8)
        watched.at(60, "experts", 2, 4)
        assert watched.reporter.whole_share() == 15 / 40
        watched.at(90, "experts", 4, 4)
        watched.at(91, "distill", 4, 8)
        assert watched.reporter.whole_share() == 35 / 40


@pytest.mark.parametrize(
    ("done", "text"), [(3, "3"), (3.0, "3"), (3.99, "3.9"), (0.04, "0.0"), (12.5, "12.5")]
)
def test_units_are_never_rounded_up(done, text):
    assert progress_count(done, 20, "epochs") == f"{text}/20 epochs"


def test_time_of_an_event_is_told_from_now(monkeypatch):
    monkeypatch.setattr("time.time", lambda: 1_000_000_120.0)
    assert ago("2001-09-09T01:46:40Z") == "2 min 00 s ago"
    assert ago(None) == ago("yesterday") == "-"
