"""Whether a machine is fit to run: what is installed, what there is of it, what is missing."""

import platform
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ddspec.dsl.atomic_write import atomic_write
from ddspec.dsl.diagnostics import DdspecError
from ddspec.dsl.facts.datasets import KNOWN
from ddspec.engine.control import Control, Interrupted
from ddspec.engine.images.find_images import data_folder, find_source
from ddspec.engine.machine.environment import (
    gpu_name,
    installed_version,
    processor_name,
    sees_gpu,
    usable_cores,
)
from ddspec.engine.store.locks import locked

CHECKED_PACKAGES = (
    "ddspec",
    "torch",
    "torchvision",
    "numpy",
    "h5py",
    "scikit-learn",
    "scipy",
    "matplotlib",
)
LEAST_FREE = 2_000_000_000
SLOW_SECONDS = 5.0


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    what: str
    fine: bool
    said: str
    needed: bool = True
    """Whether nothing runs without it."""


def run_checks(store: Path, data: Path | None) -> list[Check]:
    """Everything that a run depends on."""
    return [
        *packages(),
        Check("Python", True, platform.python_version()),
        Check("processor", True, f"{processor_name()}, {usable_cores()} cores usable"),
        memory_check(),
        gpu(),
        *disk(store),
        *datasets(data_folder(data)),
    ]


def packages() -> Iterator[Check]:
    """What is installed."""
    for name in CHECKED_PACKAGES:
        found = installed_version(name)
        yield Check(name, found is not None, found or "not installed")


def memory_check() -> Check:
    """Of the whole machine, where the system says."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        sizes = {line.partition(":")[0]: int(line.split()[1]) * 1024 for line in lines}
        total, free = sizes["MemTotal"], sizes["MemAvailable"]
        return Check("memory", True, f"{total / 1e9:.1f} GB, {free / 1e9:.1f} GB available")
    except (OSError, ValueError, KeyError, IndexError):
        return Check("memory", True, "not known on this system", needed=False)


def gpu() -> Check:
    """A device that torch can use."""
    if not sees_gpu():
        return Check("GPU", False, "none that torch sees; runs go on the CPU", needed=False)
    import torch

    total = torch.cuda.get_device_properties(0).total_memory
    return Check("GPU", True, f"{gpu_name()}, {total / 1e9:.0f} GB")


def disk(store: Path) -> Iterator[Check]:
    """Room for the store, and whether names and locks behave there."""
    place = next(path for path in (store, *store.resolve().parents) if path.is_dir())
    free = shutil.disk_usage(place).free
    yield Check("disk", free > LEAST_FREE, f"{free / 1e9:.1f} GB free for the store")
    try:
        with tempfile.TemporaryDirectory(prefix=".ddspec-doctor-", dir=place) as folder:
            target = Path(folder) / "file"
            for text in ("first", "second"):
                with atomic_write(target) as beside:
                    beside.write_text(text)
            fine = target.read_text() == "second"
            yield Check("renaming", fine, "a file takes the place of another whole")
            yield locks(Path(folder))
    except OSError as error:
        said = f"nothing can be written there: {error.strerror}"
        yield Check("renaming", False, said)


def locks(folder: Path) -> Check:
    """Whether one claim keeps another out."""
    stopped = Control(stopped_by=15)
    try:
        with locked(folder, "x", "x", Control()), locked(folder, "x", "x", stopped):
            said = "not kept here: two runs at once may do the same work twice"
            return Check("locks", False, said, needed=False)
    except Interrupted:
        return Check("locks", True, "two runs at once wait for each other")


def datasets(folder: Path) -> Iterator[Check]:
    """Which of the known datasets are there."""
    from ddspec.dsl.spec.dataset import Dataset

    for name in KNOWN:
        began = time.monotonic()
        try:
            find_source(Dataset(name=name), folder, False)
            yield Check(f"dataset {name}", True, "there", needed=False)
        except (DdspecError, ValueError) as error:
            said = str(error).partition("\n")[0]
            yield Check(f"dataset {name}", False, said, needed=False)
        if time.monotonic() - began > SLOW_SECONDS:
            yield Check("other datasets", False, "not looked at: that took long", needed=False)
            break
