"""Commands on the store, the machine and the progress of a run."""

import json
import os
import shutil
from pathlib import Path

import pytest

from ddspec.dsl.atomic_write import PROCESS_SPACE

TESTS = Path(__file__).parent


@pytest.fixture
def made(smoke_run: Path) -> Path:
    """The folder with store and runs of the smoke spec's run."""
    return smoke_run.parent.parent


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    """A copy of store and runs in the working folder of the command line."""
    shutil.copytree(made / "store", tmp_path / ".ddspec" / "store")
    shutil.copytree(made / "runs", tmp_path / "runs")
    return tmp_path


def test_store_is_listed_by_kind(cli, root: Path):
    text = cli("store", "ls").stdout
    assert any(line.split()[:2] == ["expert", "3"] for line in text.splitlines())
    artifacts = json.loads(cli("store", "ls", "--json").stdout)
    files = list((root / ".ddspec" / "store").rglob("*.h5"))
    assert len(artifacts) == len(files)
    total = sum(path.stat().st_size for path in files)
    assert sum(artifact["bytes"] for artifact in artifacts) == total


def test_store_verify_names_damaged_artifacts(cli, root: Path):
    intact = cli("store", "verify")
    assert (intact.returncode, intact.stdout.split()[1:2]) == (0, ["sound,"])
    path = min((root / ".ddspec" / "store" / "expert").glob("*.h5"))
    path.write_bytes(path.read_bytes()[:-500])
    damaged = cli("store", "verify")
    assert damaged.returncode == 4
    assert path.name in damaged.stdout


def test_gc_lists_unused_artifacts_and_deletes_them_only_with_yes(cli, smoke, root: Path):
    store = root / ".ddspec" / "store"
    before = set(store.rglob("*.h5"))
    other = cli("run", smoke, "--set", "matching.syn_steps=2")
    added = set(store.rglob("*.h5")) - before
    assert other.returncode == 0 and added
    leftover = store / "expert" / f".x.h5.{PROCESS_SPACE}-999999999-00000000"
    leftover.write_text("half")

    used = cli("store", "gc", "--older-than", "0")
    assert used.stdout.startswith("0 artifacts")
    shutil.rmtree(root / other.stdout.splitlines()[-1])
    young = cli("store", "gc")
    assert young.stdout.startswith("0 artifacts")
    unused = cli("store", "gc", "--older-than", "0")
    assert all(path.name in unused.stdout for path in added)
    assert set(store.rglob("*.h5")) == before | added
    cli("store", "gc", "--older-than", "0", "--yes")
    assert set(store.rglob("*.h5")) == before
    assert not leftover.exists()
    again = cli("run", smoke)
    assert again.returncode == 0


def test_gc_refuses_if_it_cannot_know_what_is_used(cli, root: Path):
    assert cli("store", "gc", "--runs", "nowhere").returncode == 2
    (run,) = (root / "runs").iterdir()
    (run / "plan.json").write_text("{")
    refused = cli("store", "gc", "--older-than", "0", "--yes")
    assert refused.returncode == 5
    assert "the artifacts it uses are not known" in refused.stderr


def test_status_is_read_from_another_shell(cli, root: Path):
    (run,) = (root / "runs").iterdir()
    done = json.loads(cli("status", run, "--json").stdout)
    assert done["ended"] == "done"
    events = run / "events.jsonl"
    event = {"time": "2031-01-01T00:00:00Z", "step": "distill", "done": 7, "total": 12}
    events.write_text(json.dumps({**event, "seconds_left": 90.0}) + '\n{"step": "dist')
    os.utime(run / "record.json", (0, 0))
    running = cli("status", run)
    (line,) = [line for line in running.stdout.splitlines() if line.startswith("distill")]
    assert "7/12" in line and "1 min 30 s" in line
    assert "last event" in running.stdout
    assert cli("status", root).returncode == 5


@pytest.mark.parametrize("left", ["NaN", "Infinity", "1e300", "-1e300", "-1"])
def test_status_passes_over_times_that_no_run_writes(cli, root: Path, left: str):
    (run,) = (root / "runs").iterdir()
    line = '{"time": "2031", "step": "distill", "done": 7, "total": 12, "seconds_left": %s}\n'
    (run / "events.jsonl").write_text(line % left)
    answer = cli("status", run)
    assert answer.returncode == 0
    assert "7/12" not in answer.stdout


def test_status_does_not_wait_for_a_pipe(cli, root: Path, no_hang):
    (run,) = (root / "runs").iterdir()
    (run / "events.jsonl").unlink(missing_ok=True)
    os.mkfifo(run / "events.jsonl")
    with no_hang("a pipe"):
        assert cli("status", run).returncode == 0


def test_doctor_looks_at_everything_a_run_depends_on(cli, tmp_path, monkeypatch):
    fine = cli("doctor", "--data", tmp_path)
    assert fine.returncode == 0
    for word in ("torch:", "memory:", "disk:", "locks: two runs", "dataset digits: found"):
        assert word in fine.stdout
    assert "no  dataset cifar10" in fine.stdout
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr("ddspec.engine.maintenance.doctor.LEAST_FREE", 10**18)
    assert cli("doctor", "--data", tmp_path).returncode == 5
