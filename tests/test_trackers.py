"""Trackers: what they write in their own formats, and that a run never depends on them."""

import json
import shutil
from pathlib import Path

import pytest

import ddspec
from ddspec.engine.control import Progress
from ddspec.trackers import followers, installed
from ddspec.trackers.followers import following
from ddspec.trackers.tracked_run import EventReader, Scalars

EVENTS = (
    {"time": "t", "step": "experts", "done": 2, "total": 8, "seconds_left": 1.0, "train loss": 2.0},
    {"time": "t", "step": "distill", "done": 1, "total": 12, "seconds_left": None, "loss": 0.75},
    {"time": "t", "step": "distill", "done": 12, "total": 12, "seconds_left": 0.0, "loss": 0.5},
)
EARLIER = {"time": "t", "step": "distill", "done": 1, "total": 12, "loss": 9.0}


def append(folder, *events):
    with (folder / "events.jsonl").open("a") as file:
        file.writelines(json.dumps(event) + "\n" for event in events)


@pytest.fixture
def folder(smoke_run, tmp_path):
    """A run folder with the events of an earlier call."""
    copy = tmp_path / "runs" / smoke_run.name
    shutil.copytree(smoke_run, copy)
    append(copy, EARLIER)
    return copy


def track(name, folder):
    """Let a tracker follow the events of a run that then writes its record; return messages."""
    messages, reports = [], []
    with following([name], folder, reports.append, messages.append) as report:
        report(Progress("distill", 1, 12, {}))
        append(folder, *EVENTS)
        (folder / "record.json").touch()
    assert reports == [Progress("distill", 1, 12, {})]
    return messages


def test_reader_gives_whole_new_lines_and_skips_damaged_ones(tmp_path):
    path = tmp_path / "events.jsonl"
    reader = EventReader(tmp_path, 0)
    assert list(reader.new_events()) == []
    path.write_text("no JSON\n[1]\n" + json.dumps(EVENTS[1]) + "\n" + '{"step": "dis')
    assert list(reader.new_events()) == [Scalars("distill", 1, {"loss": 0.75})]
    with path.open("a") as file:
        file.write('till", "done": 2, "loss": 0.5, "accuracy": null}\n')
    assert list(reader.new_events()) == [Scalars("distill", 2, {"loss": 0.5})]
    assert list(reader.new_events()) == []


def test_tensorboard_has_events_settings_and_results(folder):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert track("tensorboard", folder) == [f"tensorboard: {folder / 'tensorboard'}"]
    read = EventAccumulator(str(folder / "tensorboard"))
    read.Reload()
    losses = [(event.step, event.value) for event in read.Scalars("distill/loss")]
    assert losses == [(1, 0.75), (12, 0.5)]
    assert [event.value for event in read.Scalars("experts/train loss")] == [2.0]
    accuracy = ddspec.open_run(folder).record.results.accuracy
    assert read.Scalars("result/accuracy")[0].value == pytest.approx(accuracy.mean)
    by_iteration = {e.step: e.value for e in read.Scalars("evaluation/distilled/convnet")}
    assert set(by_iteration) == {0, 5, 10, 12}
    assert by_iteration[12] == pytest.approx(accuracy.mean)
    assert b"syn_steps = 3" in read.Tensors("spec")[0].tensor_proto.string_val[0]


@pytest.mark.slow
def test_mlflow_has_events_settings_and_results_in_one_run(folder, tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    sqlite3 = pytest.importorskip("sqlite3")
    pytest.importorskip("sqlalchemy")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert track("mlflow", folder) == [f"mlflow: {uri}"]
    assert track("mlflow", folder) == [f"mlflow: {uri}"]  # Continues the same run of MLflow.
    database = sqlite3.connect(tmp_path / "mlflow.db")
    try:
        runs = database.execute("SELECT name, status FROM runs").fetchall()
        params = dict(database.execute("SELECT key, value FROM params"))
        metrics = database.execute("SELECT key, step, value FROM metrics").fetchall()
    finally:
        database.close()
    assert runs == [(folder.name, "FINISHED")]
    assert params["matching.syn_steps"] == "3"
    assert {("distill/loss", 1, 0.75), ("distill/loss", 12, 0.5)} <= set(metrics)
    assert ("distill/loss", 1, 9.0) not in metrics
    accuracy = ddspec.open_run(folder).record.results.accuracy
    assert ("result/accuracy", 0, accuracy.mean) in metrics


@pytest.mark.slow
def test_wandb_writes_a_run_when_it_is_offline(folder, tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    (message,) = track("wandb", folder)
    place = Path(message.removeprefix("wandb: "))
    assert place.name.endswith(folder.name)
    content = (place / f"run-{folder.name}.wandb").read_bytes()
    for word in (b"distill/loss", b"matching.syn_steps", b"result/accuracy"):
        assert word in content


def test_nothing_is_logged_of_a_run_that_was_done_already(folder):
    pytest.importorskip("tensorboard")
    messages = []
    with following(["tensorboard"], folder, print, messages.append):
        pass
    assert messages == []
    assert not (folder / "tensorboard").exists()


def test_tracker_that_fails_is_told_of_once_and_the_run_goes_on(folder, monkeypatch):
    pytest.importorskip("tensorboard")
    monkeypatch.setattr(followers, "ASK_EVERY_SECONDS", 0.0)
    (folder / "tensorboard").write_text("a file where the tracker needs a folder")
    messages, seen = [], []
    with following(["tensorboard"], folder, seen.append, messages.append) as report:
        append(folder, *EVENTS)
        while not messages:
            report(Progress("distill", 1, 12, {}))
        report(Progress("distill", 12, 12, {}))
    assert len(messages) == 1
    assert messages[0].startswith("tensorboard failed, and the run goes on without it: ")
    assert "File exists" in messages[0]
    assert seen[-1].done == 12


def test_tracker_that_never_ends_is_stopped(folder, monkeypatch):
    monkeypatch.setattr(followers, "END_SECONDS", 0.0)
    messages = []
    with following(["tensorboard"], folder, print, messages.append):
        append(folder, *EVENTS)
    assert messages == ["tensorboard did not end within 0 s after the run"]


@pytest.mark.parametrize("name", installed.PACKAGES)
def test_missing_extra_is_named_before_anything_is_run(cli, smoke, tmp_path, monkeypatch, name):
    monkeypatch.setattr(installed, "find_spec", lambda package: None)
    answer = cli("run", smoke, "--log", name)
    assert answer.returncode == 5
    assert f'pip install "ddspec[{name}]"' in answer.stderr
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / ".ddspec").exists()


def test_unknown_tracker_is_a_wrong_usage(cli, smoke):
    answer = cli("run", smoke, "--log", "neptune")
    assert answer.returncode == 2
    assert "tensorboard, mlflow, wandb" in answer.stderr


def test_run_is_logged_and_verified(cli, smoke, tmp_path):
    pytest.importorskip("tensorboard")
    answer = cli("run", smoke, "--log", "tensorboard")
    assert answer.returncode == 0, answer.stderr
    folder = tmp_path / answer.stdout.splitlines()[-1]
    assert len([*(folder / "tensorboard").glob("events.out.tfevents.*")]) == 1
    assert f"tensorboard: {folder.relative_to(tmp_path) / 'tensorboard'}" in answer.stderr
    assert {f.verdict for f in ddspec.verify(folder, evaluate=False)} == {"ok", "not checked"}
