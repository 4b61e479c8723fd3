"""Specs, plans, stores and buffers that are pipes, devices, folders or looping links: words at once.

Datasets are in tests/engine/images/test_unfit_files.py, run folders in test_hostile.py.
"""

import json
import shutil
from pathlib import Path

import pytest

from tests.in_slow_run import first_by_default
from tests.test_hostile import make_unfit

KINDS = ("pipe", "folder", "device", "loop")


@pytest.fixture
def store(smoke_run: Path, tmp_path: Path) -> Path:
    """A copy of the smoke run's store."""
    shutil.copytree(smoke_run.parent.parent / "store", tmp_path / "store")
    return tmp_path / "store"


def put_unfit(path: Path, kind: str) -> None:
    """Put something unfit in place of a file."""
    path.unlink(missing_ok=True)
    make_unfit(path, kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "command",
    [("check",), ("plan",), ("run",), ("reproduce",), ("verify",), ("report",), ("export",)],
    ids=" ".join,
)
def test_unfit_argument_of_a_command_ends_in_words(cli, tmp_path, no_hang, command, kind):
    make_unfit(tmp_path / "x", kind)
    with no_hang(f"{kind} {command}"):
        answer = cli(*command, "x")
    assert answer.returncode in (3, 5)
    said = answer.stdout + answer.stderr
    assert said.startswith("error") and "fault of ddspec" not in said


@pytest.mark.parametrize("kind", KINDS)
def test_unfit_buffer_ends_in_words(cli, tmp_path, no_hang, kind):
    make_unfit(tmp_path / "replay_buffer_0.pt", kind)
    with no_hang(kind):
        answer = cli("import", "replay_buffer_0.pt", "--store", "store")
    assert answer.returncode == 5
    words = {"loop": "leads to itself"}.get(kind, f"a {kind}, not a regular file")
    assert words in answer.stderr


@pytest.mark.parametrize("kind", ["pipe", "device", "loop"])
@pytest.mark.parametrize("option", ["--store", "--data", "--runs"])
def test_unfit_folder_of_an_option_ends_in_words(cli, smoke, tmp_path, no_hang, option, kind):
    make_unfit(tmp_path / "x", kind)
    spec = tmp_path / "mine.toml"
    spec.write_text(smoke.read_text().replace('name = "digits"', 'name = "folder"\nroot = "pets"'))
    with no_hang(f"{option} {kind}"):
        answer = cli("run", spec, option, "x")
    assert answer.returncode == 5
    assert answer.stderr.startswith("error") and "fault of ddspec" not in answer.stderr


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "folder",
    first_by_default(["synthetic", "notes", "dataset", "expert", "evaluation", "claims"], 2),
)
def test_unfit_file_in_a_store_ends_in_words(cli, smoke, store, no_hang, folder, kind):
    files = sorted((store / folder).iterdir())
    assert files
    for path in files:
        put_unfit(path, kind)
    with no_hang(f"{folder} {kind}"):
        planned = cli("plan", smoke, "--store", store)
        verified = cli("store", "verify", "--store", store)
    for answer in (planned, verified):
        assert answer.returncode in (0, 4, 5)
        assert "fault of ddspec" not in answer.stderr
    if folder in ("expert", "evaluation") and kind in ("pipe", "device"):
        assert f"it is a {kind}, not a regular file" in verified.stdout + verified.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_unfit_plan_of_a_task_ends_in_words(cli, smoke, tmp_path, no_hang, kind):
    listed = cli("plan", smoke, "--store", "store", "--tasks", "--json").stdout.splitlines()
    task = json.loads(listed[0])
    (plan,) = (tmp_path / "store" / "plans").iterdir()
    put_unfit(plan, kind)
    with no_hang(kind):
        answer = cli("work", "--store", "store", "--task", json.dumps(task))
    assert answer.returncode == 5
    assert answer.stderr.startswith("error") and "plan" in answer.stderr
