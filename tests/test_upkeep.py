"""Store, machine and progress from the command line."""

import json
import os
import shutil
from pathlib import Path

import pytest

from ddspec.engine.store.store import HOST

TESTS = Path(__file__).parent


@pytest.fixture
def made(smoke_run: Path) -> Path:
    """A folder with store and runs."""
    return smoke_run.parent.parent


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    """A copy of store and runs in the working folder of the command line."""
    shutil.copytree(made / "store", tmp_path / ".ddspec" / "store")
    shutil.copytree(made / "runs", tmp_path / "runs")
    return tmp_path


def test_store_is_listed_by_kind(cli, place: Path):
    text = cli("store", "ls").stdout
    assert any(line.split()[:2] == ["expert", "3"] for line in text.splitlines())
    found = json.loads(cli("store", "ls", "--json").stdout)
    there = list((place / ".ddspec" / "store").rglob("*.h5"))
    assert len(found) == len(there)
    assert sum(one["bytes"] for one in found) == sum(path.stat().st_size for path in there)


def test_store_is_verified_and_what_is_at_fault_named(cli, place: Path):
    fine = cli("store", "verify")
    assert (fine.returncode, fine.stdout.split()[1:2]) == (0, ["whole,"])
    path = min((place / ".ddspec" / "store" / "expert").glob("*.h5"))
    path.write_bytes(path.read_bytes()[:-500])
    wrong = cli("store", "verify")
    assert wrong.returncode == 4
    assert path.name in wrong.stdout


def test_gc_names_what_no_run_uses_and_deletes_it_only_when_told(cli, smoke, place: Path):
    store = place / ".ddspec" / "store"
    before = set(store.rglob("*.h5"))
    other = cli("run", smoke, "--set", "matching.syn_steps=2")
    more = set(store.rglob("*.h5")) - before
    assert other.returncode == 0 and more
    left = store / "expert" / f".x.h5.{HOST}-999999999-00000000"
    left.write_text("half")

    used = cli("store", "gc", "--older-than", "0")
    assert used.stdout.startswith("0 artifacts")
    shutil.rmtree(place / other.stdout.splitlines()[-1])
    young = cli("store", "gc")
    assert young.stdout.startswith("0 artifacts")
    named = cli("store", "gc", "--older-than", "0")
    assert all(path.name in named.stdout for path in more)
    assert set(store.rglob("*.h5")) == before | more
    cli("store", "gc", "--older-than", "0", "--yes")
    assert set(store.rglob("*.h5")) == before
    assert not left.exists()
    again = cli("run", smoke)
    assert again.returncode == 0


def test_gc_refuses_where_it_cannot_know_what_is_used(cli, place: Path):
    assert cli("store", "gc", "--runs", "nowhere").returncode == 2
    (run,) = (place / "runs").iterdir()
    (run / "plan.json").write_text("{")
    refused = cli("store", "gc", "--older-than", "0", "--yes")
    assert refused.returncode == 5
    assert "what it uses is not known" in refused.stderr


def test_status_is_read_from_another_shell(cli, place: Path):
    (run,) = (place / "runs").iterdir()
    done = json.loads(cli("status", run, "--json").stdout)
    assert done["ended"] == "done"
    events = run / "events.jsonl"
    event = {"time": "2031-01-01T00:00:00Z", "step": "distill", "done": 7, "total": 12}
    events.write_text(json.dumps({**event, "seconds_left": 90.0}) + '\n{"step": "dist')
    os.utime(run / "record.json", (0, 0))
    going = cli("status", run)
    (line,) = [line for line in going.stdout.splitlines() if line.startswith("distill")]
    assert "7/12" in line and "1 min 30 s" in line
    assert "last event" in going.stdout
    assert cli("status", place).returncode == 5


def test_doctor_looks_at_everything_a_run_depends_on(cli, tmp_path, monkeypatch):
    fine = cli("doctor", "--data", tmp_path)
    assert fine.returncode == 0
    for word in ("torch:", "memory:", "disk:", "locks: two runs", "dataset digits: there"):
        assert word in fine.stdout
    assert "no  dataset cifar10" in fine.stdout
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr("ddspec.engine.maintenance.doctor.LEAST_FREE", 10**18)
    assert cli("doctor", "--data", tmp_path).returncode == 5
