"""Two runs of the same, or of specs that share experts: each artifact is made once, used by both."""

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
    """Another process that holds a claim."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        yield other
        other.kill()


def test_a_claim_is_waited_for_and_lives_no_longer_than_its_process(holder, tmp_path):
    said: list[str] = []

    def kill(message: str) -> None:
        said.append(message)
        holder.send_signal(signal.SIGKILL)

    with locked(tmp_path, "y", "y", Control(say=kill)):
        assert not said
    with locked(tmp_path, "x", "x", Control(say=kill)):
        assert said == ["x: another run is computing this; waiting for its result"]
    # The holder was killed and did not come to the end of its sleep.
    assert holder.wait() == -signal.SIGKILL


def test_a_signal_is_heard_while_waiting(holder, tmp_path):
    control = Control(stopped_by=signal.SIGTERM)
    with pytest.raises(Interrupted), locked(tmp_path, "x", "x", control):
        pass


def started(spec: Path, folder: Path, runs: str, *more: str) -> subprocess.Popen:
    """A run on its way, in a process of its own."""
    where = ["--store", str(folder / "store"), "--runs", str(folder / runs)]
    return subprocess.Popen(
        [sys.executable, "-m", "ddspec", "run", str(spec), *where, *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )


def record_of(process: subprocess.Popen) -> Record:
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
    processes = [started(smoke, together, "one"), started(smoke, together, "two", *change)]
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
