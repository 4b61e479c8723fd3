"""A scheduler of one's own: tasks handed out by xargs make the bytes of a run without it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import pytest

SMOKE = Path(__file__).parent / "smoke.toml"


def arrays(store: Path) -> dict[str, dict[str, bytes]]:
    """The arrays of all artifacts as bytes, by file."""
    content = {}
    for path in sorted(store.glob("*/*.h5")):
        with h5py.File(path, "r") as file:
            name = f"{path.parent.name}/{path.name}"
            content[name] = {key: file[key][()].tobytes() for key in file}
    return content


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("xargs") is None, reason="needs xargs")
def test_tasks_by_xargs_make_the_bytes_of_a_local_run(cli, smoke_run: Path, tmp_path: Path):
    store = tmp_path / "store"
    listed = cli("plan", SMOKE, "--store", store, "--tasks", "--json").stdout
    work = [sys.executable, "-m", "ddspec", "work", "--store", store, "--wait", "300"]
    handed_out = subprocess.run(
        ["xargs", "-P", "3", "-d", "\n", "-I", "TASK", *work, "--task", "TASK"],
        input=listed,
        capture_output=True,
        text=True,
        check=False,
    )
    assert handed_out.returncode == 0, handed_out.stderr
    reports = [json.loads(line) for line in handed_out.stdout.splitlines()]
    assert [report["status"] for report in reports] == ["done"] * len(listed.splitlines())
    assert cli("plan", SMOKE, "--store", store, "--tasks").stdout == "nothing to do\n"
    assert arrays(store) == arrays(smoke_run.parent.parent / "store")

    again = cli("run", SMOKE, "--store", store, "--runs", tmp_path / "runs")
    assert again.returncode == 0, again.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    record, local = (json.loads((run / "record.json").read_text()) for run in (folder, smoke_run))
    assert record["results"] == local["results"]
    assert {step["status"] for step in record["steps"]} == {"reused"}


def test_task_that_cannot_begin_says_what_it_needs(cli, tmp_path: Path):
    store = tmp_path / "store"
    listed = cli("plan", SMOKE, "--store", store, "--tasks", "--json").stdout.splitlines()
    (distill,) = [line for line in listed if json.loads(line)["step"] == "distill"]
    answer = cli("work", "--store", store, "--task", distill)
    assert answer.returncode == 5
    assert "step distill needs experts, which is not in the store" in answer.stderr
    assert "--wait SECONDS" in answer.stderr


def test_list_of_tasks_is_a_table_for_people(cli, tmp_path: Path):
    lines = cli("plan", SMOKE, "--store", tmp_path / "store", "--tasks").stdout.splitlines()
    assert lines[0].split() == ["step", "member", "networks", "needs"]
    assert lines[1].split() == ["experts", "0", "-", "dataset"]
    assert lines[-1].split() == [
        "random-real-expert-labels-convnet",
        "0",
        "0",
        "to",
        "1",
        "dataset,",
        "experts",
        "0",
    ]
