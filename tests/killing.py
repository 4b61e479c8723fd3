"""Kills runs at random moments and says what the next run makes of it; called by test_faults.py.

    python killing.py SPEC FOLDER SEED TRIALS [TABLE.KEY=VALUE...]

Everything is imported once; every run is a fork of that, on threads of its own. Prints a line of JSON
per trial: when it was killed, in which step, and what differs from the undisturbed run.
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
from ddspec.engine import work  # noqa: F401
from ddspec.engine.control import Control, Progress
from ddspec.engine.machine import speed_probe as probe
from ddspec.engine.store.store import LEFTOVER
from ddspec.reports import render  # noqa: F401


@dataclass(frozen=True)
class Asked:
    """What is run."""

    spec: Path
    overrides: tuple[str, ...]


def run(asked: Asked, folder: Path) -> None:
    """One run in a process of its own."""
    with (folder / "steps").open("a") as steps:

        def note(progress: Progress) -> None:
            steps.write(progress.step + "\n")
            steps.flush()

        loaded = api.load(asked.spec, asked.overrides)
        compiled = api.compile(loaded, store=folder / "store")
        # Saves as often as it can, so that kills meet half-written checkpoints too.
        api.run(compiled, runs=folder / "runs", control=Control(report=note, save_every=0.05))


def forked(asked: Asked, folder: Path) -> int:
    """Begin a run; the number of its process."""
    folder.mkdir(parents=True, exist_ok=True)
    number = os.fork()
    if number == 0:
        code = 1
        try:
            run(asked, folder)
            code = 0
        finally:
            os._exit(code)
    return number


def finished(number: int) -> bool:
    """Wait for a run to end; whether it ended well."""
    return os.waitpid(number, 0)[1] == 0


def contents(folder: Path) -> dict[str, str]:
    """What a run leaves, without times: arrays of artifacts, files of the run folder."""
    found = {}
    for path in sorted((folder / "store").rglob("*.h5")):
        if path.parent.name == "unfinished":
            continue
        with h5py.File(path, "r") as file:
            arrays = {key: hashlib.sha256(file[key][()].tobytes()).hexdigest() for key in file}
        found[f"{path.parent.name}/{path.name}"] = json.dumps(arrays, sort_keys=True)
    (run_folder,) = (folder / "runs").iterdir()
    for name in ("synthetic.h5", "resolved.toml"):
        found[name] = hashlib.sha256((run_folder / name).read_bytes()).hexdigest()
    for path in sorted((run_folder / "images").iterdir()):
        found[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    record = json.loads((run_folder / "record.json").read_text())
    for part in ("results", "series", "experts", "evaluations", "outcome"):
        found[part] = json.dumps(record[part], sort_keys=True)
    return found


def half_written(folder: Path) -> list[str]:
    """Files whose writing was begun and not finished."""
    return [path.name for path in folder.rglob(".*") if LEFTOVER.fullmatch(path.name)]


def trial(asked: Asked, folder: Path, after: float, expected: dict[str, str]) -> dict[str, object]:
    """Kill a run after so many seconds, run again, compare."""
    number = forked(asked, folder)
    time.sleep(after)
    os.kill(number, signal.SIGKILL)
    finished(number)
    met = (folder / "steps").read_text().split() if (folder / "steps").exists() else []
    well = finished(forked(asked, folder))
    found = contents(folder) if well else {}
    return {
        "after": round(after, 3),
        "step": met[-1] if met else "before the first step",
        "well": well,
        "differs": sorted(k for k in expected.keys() | found if expected.get(k) != found.get(k)),
        "half_written": half_written(folder),
    }


def main() -> None:
    """Undisturbed first, then as often as asked for."""
    asked, folder = Asked(Path(sys.argv[1]), tuple(sys.argv[5:])), Path(sys.argv[2])
    seed, trials = map(int, sys.argv[3:5])
    torch.set_num_threads(1)
    probe.SECONDS_EACH = 0.0  # Rates change estimates alone.
    began = time.monotonic()
    assert finished(forked(asked, folder / "undisturbed"))
    whole = time.monotonic() - began
    expected = contents(folder / "undisturbed")
    draw = random.Random(seed)
    for number in range(trials):
        # Spread over the whole run, a stretch for each trial.
        after = whole * (number + draw.random()) / trials
        said = trial(asked, folder / f"trial-{number}", after, expected)
        shutil.rmtree(folder / f"trial-{number}")
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()


main()
