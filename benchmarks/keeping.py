"""What one waits for beside the arithmetic: the store, its files, and the command line."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from benchmarks import ours
from benchmarks.measure import Side, Timed, compare_ways
from benchmarks.shapes import CIFAR10
from ddspec.dsl.digest import digest
from ddspec.engine.networks.flat_network import initial_parameters
from ddspec.engine.store.provenance import Provenance
from ddspec.engine.store.store import Store
from ddspec.engine.store.trajectory_file import LOG

SPEC = Path(__file__).parent.parent / "tests" / "smoke.toml"
EXPERTS, EPOCHS = 100, 3


@contextmanager
def folder() -> Iterator[Path]:
    """A folder for the time of a measurement."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def snapshots() -> np.ndarray[Any, np.dtype[np.float32]]:
    """Parameters of a network of CIFAR-10's shape: fresh, and a little further."""
    form, facts = ours.network_of(CIFAR10), ours.facts_of(CIFAR10)
    theta = initial_parameters(form, facts, 0, "benchmark").numpy()
    step = 0.01 * np.random.default_rng(0).standard_normal((EPOCHS + 1, len(theta)))
    return (theta + step.cumsum(0)).astype(np.float32)


def opening(device: torch.device, cores: int, repetitions: int) -> dict[str, Timed]:
    """A store that holds a hundred experts."""
    with folder() as root:
        store, theta = Store(root), snapshots()
        log = dict.fromkeys(LOG, np.zeros(EPOCHS))
        names = []
        for number in range(EXPERTS):
            preimage = {"member": number}
            store.put("expert", preimage, {"theta": theta, **log}, Provenance())
            names.append(digest(preimage))

        def open_all() -> None:
            for name in names:
                store.reader("expert", name).close()

        def read_one() -> None:
            with store.open("expert", names[0]) as file:
                file["theta"][1]

        sides = {"open all": Side(open_all, 1), "open one, read a snapshot": Side(read_one, 1)}
        return compare_ways(sides, repetitions, device)


LOSSLESS: Mapping[str, dict[str, Any]] = {
    "nothing": {},
    "gzip 1, bytes shuffled": {"compression": "gzip", "compression_opts": 1, "shuffle": True},
    "gzip 9, bytes shuffled": {"compression": "gzip", "compression_opts": 9, "shuffle": True},
    "lzf, bytes shuffled": {"compression": "lzf", "shuffle": True},
}


def compression(device: torch.device, cores: int, repetitions: int) -> dict[str, Timed]:
    """Snapshots of an expert that was trained, as HDF5 can pack them without loss."""
    images, labels = CIFAR10.images(256), CIFAR10.labels(256)
    rows = torch.stack(ours.train_experts(CIFAR10, images, labels, 2, 1)).numpy()
    with folder() as root:
        sides = {}
        for number, (name, options) in enumerate(LOSSLESS.items()):
            path = root / f"{number}.h5"
            with h5py.File(path, "w") as file:
                file.create_dataset("theta", data=rows, chunks=(1, rows.shape[1]), **options)
            share = path.stat().st_size / rows.nbytes
            sides[f"{name}: {share:.0%} of the bytes"] = Side(partial(read_row, path), 1)
        return compare_ways(sides, repetitions, device)


def read_row(path: Path) -> None:
    """One snapshot of a file."""
    with h5py.File(path) as file:
        file["theta"][1]


def start_up(device: torch.device, cores: int, repetitions: int) -> dict[str, Timed]:
    """The command line by itself, and a run that finds everything in the store."""
    with folder() as root:
        places = ["--store", str(root / "store"), "--runs", str(root / "runs")]
        run = ["run", str(SPEC), *places]
        call(run)
        sides = {
            "--help": Side(partial(call, ["--help"]), cores),
            "check": Side(partial(call, ["check", str(SPEC)]), cores),
            "run, all reused": Side(partial(call, run), cores),
        }
        return compare_ways(sides, repetitions, device)


def call(arguments: list[str]) -> None:
    """One call of the command line, in a process of its own."""
    command = [sys.executable, "-m", "ddspec", *arguments]
    subprocess.run(command, check=True, capture_output=True)
