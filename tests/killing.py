"""Kill runs at random moments and report how the next run ends (for test_faults.py).

    python killing.py SPEC FOLDER SEED TRIALS [TABLE.KEY=VALUE...]

Modules are imported once, and every run is a fork of this process with its own threads.
Prints one line of JSON per trial: when the run was killed, in which step, and how the
next run's output differs from that of an undisturbed run.
"""

import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import h5py
import sklearn.datasets  # noqa: F401
import torch

from ddspec import api
from ddspec.dsl.atomic_write import LEFTOVER
from ddspec.engine.control import Control, Progress
from ddspec.engine.machine import speed_probe
from ddspec.engine.run import execute  # noqa: F401
from ddspec.reports.pages import run as run_page  # noqa: F401


@dataclass(frozen=True)
class Case:
    """The spec to run, with its overrides."""

    spec: Path
    overrides: tuple[str, ...]


def run_case(case: Case, folder: Path) -> None:
    """Run the spec once, with store and runs in `folder`."""
    with (folder / "steps").open("a") as steps:

        def write_step(progress: Progress) -> None:
            steps.write(progress.step + "\n")
            steps.flush()

        loaded = api.load(case.spec, case.overrides)
        compiled = api.compile(loaded, store=folder / "store")
        # Save as often as possible, so that kills also hit half-written checkpoints.
        control = Control(report=write_step, save_every=0.05)
        api.run(compiled, runs=folder / "runs", control=control)


def start_run(case: Case, folder: Path) -> int:
    """Start a run in a new process and return the process id."""
    folder.mkdir(parents=True, exist_ok=True)
    process = os.fork()
    if process == 0:
        code = 1
        try:
            run_case(case, folder)
            code = 0
        finally:
            os._exit(code)
    return process


def succeeded(process: int) -> bool:
    """Wait for a process to end and return whether it succeeded."""
    return os.waitpid(process, 0)[1] == 0


def contents(folder: Path) -> dict[str, str]:
    """Return the content of store and run folder, without times, by file.

    Artifacts of distillations in progress are left out.
    """
    content = {}
    for path in sorted((folder / "store").rglob("*.h5")):
        if path.parent.name == "unfinished":
            continue
        with h5py.File(path, "r") as file:
            arrays = {key: hashlib.sha256(file[key][()].tobytes()).hexdigest() for key in file}
        content[f"{path.parent.name}/{path.name}"] = json.dumps(arrays, sort_keys=True)
    (run_folder,) = (folder / "runs").iterdir()
    for name in ("synthetic.h5", "resolved.toml"):
        content[name] = hashlib.sha256((run_folder / name).read_bytes()).hexdigest()
    for path in sorted((run_folder / "images").iterdir()):
        content[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    record = json.loads((run_folder / "record.json").read_text())
    for part in ("results", "series", "experts", "evaluations", "outcome"):
        content[part] = json.dumps(record[part], sort_keys=True)
    return content


def half_written(folder: Path) -> list[str]:
    """Return the files whose writing was begun and not finished."""
    return [path.name for path in folder.rglob(".*") if LEFTOVER.fullmatch(path.name)]


def kill_and_run_again(
    case: Case, folder: Path, seconds: float, expected: dict[str, str]
) -> dict[str, object]:
    """Kill a run after `seconds`, run it again, and compare it with `expected`."""
    process = start_run(case, folder)
    time.sleep(seconds)
    os.kill(process, signal.SIGKILL)
    succeeded(process)
    steps = (folder / "steps").read_text().split() if (folder / "steps").exists() else []
    success = succeeded(start_run(case, folder))
    content = contents(folder) if success else {}
    return {
        "after": round(seconds, 3),
        "step": steps[-1] if steps else "before the first step",
        "succeeded": success,
        "differs": sorted(
            key for key in expected.keys() | content if expected.get(key) != content.get(key)
        ),
        "half_written": half_written(folder),
    }


def main() -> None:
    """Run the case undisturbed, then kill it as often as the arguments say."""
    case, folder = Case(Path(sys.argv[1]), tuple(sys.argv[5:])), Path(sys.argv[2])
    seed, trials = map(int, sys.argv[3:5])
    torch.set_num_threads(1)
    speed_probe.SECONDS_EACH = 0.0  # Measured speeds affect estimates only.
    start = time.monotonic()
    assert succeeded(start_run(case, folder / "undisturbed"))
    duration = time.monotonic() - start
    expected = contents(folder / "undisturbed")
    draw = random.Random(seed)
    for number in range(trials):
        # One kill in each of `trials` equal parts of the run.
        seconds = duration * (number + draw.random()) / trials
        trial = folder / f"trial-{number}"
        report = kill_and_run_again(case, trial, seconds, expected)
        shutil.rmtree(trial)
        sys.stdout.write(json.dumps(report) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
