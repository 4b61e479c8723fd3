"""Waiting times outside the arithmetic: the store, its files, and the command line."""

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

from benchmarks import ddspec_engine
from benchmarks.measure import Side, Timed, time_in_turns
from benchmarks.shapes import CIFAR10_SHAPE
from ddspec.dsl.digest import digest
from ddspec.engine.networks.flat_network import initial_parameters
from ddspec.engine.store.provenance import Provenance
from ddspec.engine.store.store import Store
from ddspec.engine.store.trajectory_file import LOG

SMOKE_SPEC = Path(__file__).parent.parent / "tests" / "smoke.toml"
EXPERTS, EPOCHS = 100, 3


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield a folder that is deleted after the block."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def snapshots() -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return snapshots of a network for CIFAR-10: fresh ones with small random steps."""
    form, facts = ddspec_engine.convnet_of(CIFAR10_SHAPE), ddspec_engine.facts_of(CIFAR10_SHAPE)
    theta = initial_parameters(form, facts, 0, "benchmark").numpy()
    step = 0.01 * np.random.default_rng(0).standard_normal((EPOCHS + 1, len(theta)))
    return (theta + step.cumsum(0)).astype(np.float32)


def open_experts(device: torch.device, cores: int, repetitions: int) -> dict[str, Timed]:
    """Measure opening a hundred stored experts, and reading one snapshot."""
    with temporary_folder() as root:
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
        return time_in_turns(sides, repetitions, device)


LOSSLESS: Mapping[str, dict[str, Any]] = {
    "nothing": {},
    "gzip 1, bytes shuffled": {"compression": "gzip", "compression_opts": 1, "shuffle": True},
    "gzip 9, bytes shuffled": {"compression": "gzip", "compression_opts": 9, "shuffle": True},
    "lzf, bytes shuffled": {"compression": "lzf", "shuffle": True},
}


def read_compressed(device: torch.device, cores: int, repetitions: int) -> dict[str, Timed]:
    """Measure reading a trained expert's snapshot from files with lossless compression."""
    images, labels = CIFAR10_SHAPE.images(256), CIFAR10_SHAPE.labels(256)
    rows = torch.stack(
        ddspec_engine.train_engine_experts(CIFAR10_SHAPE, images, labels, 2, 1)
    ).numpy()
    with temporary_folder() as root:
        sides = {}
        for number, (name, options) in enumerate(LOSSLESS.items()):
            path = root / f"{number}.h5"
            with h5py.File(path, "w") as file:
                file.create_dataset("theta", data=rows, chunks=(1, rows.shape[1]), **options)
            share = path.stat().st_size / rows.nbytes
            sides[f"{name}: {share:.0%} of the bytes"] = Side(partial(read_row, path), 1)
        return time_in_turns(sides, repetitions, device)


def read_row(path: Path) -> None:
    """Read one snapshot of a file."""
    with h5py.File(path) as file:
        file["theta"][1]


def start_command_line(device: torch.device, cores: int, repetitions: int) -> dict[str, Timed]:
    """Measure the command line alone, and a run that reuses everything in the store."""
    with temporary_folder() as root:
        folders = ["--store", str(root / "store"), "--runs", str(root / "runs")]
        run = ["run", str(SMOKE_SPEC), *folders]
        call_ddspec(run)
        sides = {
            "--help": Side(partial(call_ddspec, ["--help"]), cores),
            "check": Side(partial(call_ddspec, ["check", str(SMOKE_SPEC)]), cores),
            "run, all reused": Side(partial(call_ddspec, run), cores),
        }
        return time_in_turns(sides, repetitions, device)


def call_ddspec(arguments: list[str]) -> None:
    """Call the command line in a new process."""
    command = [sys.executable, "-m", "ddspec", *arguments]
    subprocess.run(command, check=True, capture_output=True)
