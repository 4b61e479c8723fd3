"""Runs that want the same artifacts: each artifact is made once and used by all."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ddspec import api
from ddspec.dsl.record.record import Record
from ddspec.engine.control import Control, Interrupted
from ddspec.engine.store.locks import locked

HOLD = """
import sys, time
from pathlib import Path
from ddspec.engine.store.locks import locked
from ddspec.engine.control import Control
with locked(Path(sys.argv[1]), "x", "x", Control()):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path):
    """Another process that holds a lock."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_lock_is_waited_for_and_released_when_its_process_is_killed(holder, tmp_path):
    messages: list[str] = []

    def kill(message: str) -> None:
        messages.append(message)
        holder.send_signal(signal.SIGKILL)

    with locked(tmp_path, "y", "y", Control(say=kill)) as waited:
        assert not waited
        assert not messages
    with locked(tmp_path, "x", "x", Control(say=kill)) as waited:
        assert waited
        assert messages == ["x: another run is computing this; waiting for its result"]
    # The holder was killed and did not come to the end of its sleep.
    assert holder.wait() == -signal.SIGKILL


def test_signal_ends_the_waiting(holder, tmp_path):
    control = Control(stopped_by=signal.SIGTERM)
    with pytest.raises(Interrupted), locked(tmp_path, "x", "x", control):
        pass


def start_run(spec: Path, folder: Path, runs: str, *more: str) -> subprocess.Popen:
    """Start a run in another process."""
    folders = ["--store", str(folder / "store"), "--runs", str(folder / runs)]
    return subprocess.Popen(
        [sys.executable, "-m", "ddspec", "run", str(spec), *folders, *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )


def record_of(process: subprocess.Popen) -> Record:
    """Return the record of a run, once it has ended."""
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    return Record.model_validate_json((Path(out.splitlines()[-1]) / "record.json").read_bytes())


@pytest.mark.slow
@pytest.mark.parametrize("change", [(), ("--set", "matching.syn_steps=2")])
def test_two_runs_at_once_make_each_artifact_once(smoke: Path, tmp_path: Path, change):
    alone = api.run(
        api.compile(api.load(smoke), store=tmp_path / "alone" / "store"),
        runs=tmp_path / "alone" / "runs",
    ).record
    together = tmp_path / "together"
    processes = [start_run(smoke, together, "one"), start_run(smoke, together, "two", *change)]
    records = [record_of(process) for process in processes]

    assert records[0].results == alone.results
    if not change:
        assert records[1].results == alone.results
    shared = ("experts",) if change else [step.id for step in alone.steps if step.kind != "dataset"]
    for id in shared:
        steps = [next(step for step in record.steps if step.id == id) for record in records]
        assert sum(step.computed for step in steps) == steps[0].members
    store = together / "store"
    experts = len(records[0].experts)
    assert len(list((store / "expert").glob("*.h5"))) == experts
    assert not [path for path in store.rglob(".*") if path.is_file()]
