"""Checks of whether this machine is fit to run: packages, memory, device, disk, datasets."""

import platform
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ddspec.dsl.atomic_write import atomic_write, new_folder_beside
from ddspec.dsl.diagnostics import DataMissing, DdspecError, MachineError
from ddspec.dsl.extensions.installed import installed_extension, owners
from ddspec.dsl.facts.datasets import KNOWN
from ddspec.dsl.regular_file import resolved
from ddspec.dsl.spec.dataset import Dataset
from ddspec.dsl.terminal_text import message_of
from ddspec.engine.control import Control, Interrupted
from ddspec.engine.images.sources.find_images import data_folder, find_source
from ddspec.engine.images.sources.torchvision_files import TORCHVISION
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
"""Bytes that should be free for the store."""

SLOW_SECONDS = 5.0
"""If finding one dataset takes longer than this, the others are not looked for."""


@dataclass(frozen=True)
class Check:
    """The result of one check."""

    subject: str
    passed: bool
    detail: str
    required: bool = True
    """Whether no run is possible if the check fails."""


def run_checks(store: Path, data: Path | None) -> list[Check]:
    """Check everything that a run depends on."""
    return [
        *package_checks(),
        *extension_checks(),
        Check("Python", True, platform.python_version()),
        Check("processor", True, f"{processor_name()}, {usable_cores()} cores usable"),
        memory_check(),
        gpu_check(),
        *disk_checks(store),
        *dataset_checks(data_folder(data)),
    ]


def package_checks() -> Iterator[Check]:
    """Check that packages are installed, and report their versions."""
    for name in CHECKED_PACKAGES:
        version = installed_version(name)
        yield Check(name, version is not None, version or "not installed")


def extension_checks() -> Iterator[Check]:
    """Check the installed extensions of the language."""
    for owner in owners():
        try:
            found = installed_extension(owner)
            yield Check(f"extension {owner}", True, f"{found.package} {found.version}")
        except MachineError as error:
            yield Check(f"extension {owner}", False, str(error), required=False)


def memory_check() -> Check:
    """Report the memory of the machine, if it is known."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        sizes = {line.partition(":")[0]: int(line.split()[1]) * 1024 for line in lines}
        total, free = sizes["MemTotal"], sizes["MemAvailable"]
        return Check("memory", True, f"{total / 1e9:.1f} GB, {free / 1e9:.1f} GB available")
    except (OSError, ValueError, KeyError, IndexError):
        return Check("memory", True, "not known on this system", required=False)


def gpu_check() -> Check:
    """Check whether torch can use a GPU."""
    if not sees_gpu():
        detail = "torch sees none; runs use the CPU (ddspec plan --assume h100 estimates costs)"
        return Check("GPU", False, detail, required=False)
    import torch

    total = torch.cuda.get_device_properties(0).total_memory
    return Check("GPU", True, f"{gpu_name()}, {total / 1e9:.0f} GB")


def disk_checks(store: Path) -> Iterator[Check]:
    """Check the free space for the store, and that renaming and locking work there."""
    folder = next(path for path in (store, *resolved(store).parents) if path.is_dir())
    free = shutil.disk_usage(folder).free
    yield Check("disk", free > LEAST_FREE, f"{free / 1e9:.1f} GB free for the store")
    try:
        temporary = new_folder_beside(folder / "ddspec-doctor")
        try:
            yield rename_check(temporary)
            yield lock_check(temporary)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        yield Check("renaming", False, f"nothing can be written there: {error.strerror}")


def rename_check(folder: Path) -> Check:
    """Check that a file replaces another one as a whole."""
    target = folder / "file"
    for text in ("first", "second"):
        with atomic_write(target) as temporary:
            temporary.write_text(text)
    return Check("renaming", target.read_text() == "second", "a file replaces another as a whole")


def lock_check(folder: Path) -> Check:
    """Check that a held lock keeps others out."""
    stopped = Control(stopped_by=15)  # The second attempt gives up instead of waiting.
    try:
        with locked(folder, "x", "x", Control()), locked(folder, "x", "x", stopped):
            detail = "do not work here: two runs at once may do the same work twice"
            return Check("locks", False, detail, required=False)
    except Interrupted:
        return Check("locks", True, "two runs at once wait for each other")


def dataset_checks(folder: Path) -> Iterator[Check]:
    """Check which of the known datasets can be found."""
    for name in KNOWN:
        began = time.monotonic()
        try:
            find_source(Dataset(name=name), folder, False)
            yield Check(f"dataset {name}", True, "found", required=False)
        except DataMissing as error:
            way = (
                "ddspec run downloads it" if name in TORCHVISION else "ddspec plan lists its files"
            )
            yield Check(f"dataset {name}", False, f"{message_of(error)}; {way}", required=False)
        except (DdspecError, ValueError) as error:
            yield Check(f"dataset {name}", False, message_of(error), required=False)
        if time.monotonic() - began > SLOW_SECONDS:
            detail = "not looked for, because that took long"
            yield Check("other datasets", False, detail, required=False)
            break
