"""Memory of this process: how much it uses now, and how much it used at most."""

import contextlib
import ctypes
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from ddspec.dsl import available_memory

STATUS = Path("/proc/self/status")
PEAK_RESET = Path("/proc/self/clear_refs")
"""Writing 5 to this file sets the process's peak (VmHWM) to what it uses now."""


@dataclass
class Peak:
    """The most memory in use while a block ran."""

    bytes: int = 0
    """On a GPU, torch's memory there; on a CPU, that of the whole process with its libraries."""


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Peak]:
    """Measure the peak memory of a block; the result is set when the block ends.

    If the system cannot reset a process's peak (any but Linux), earlier memory counts too.
    """
    peak = Peak()
    reset_peak(device)
    try:
        yield peak
    finally:
        peak.bytes = peak_bytes(device)


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's `mallopt`."""

KEPT_BELOW, NEVER = 2**30, -1


def keep_freed_memory() -> None:
    """Make the process keep memory that tensors free, for later tensors.

    glibc returns large blocks to the system at once, which then clears every page again for the
    next tensor. With large batches on a CPU that costs as much as the arithmetic.
    """
    library = glibc()
    if library is not None:
        library.mallopt(M_MMAP_THRESHOLD, KEPT_BELOW)
        library.mallopt(M_TRIM_THRESHOLD, NEVER)


def glibc() -> ctypes.CDLL | None:
    """Return the C library if it is glibc."""
    if platform.libc_ver()[0] != "glibc":
        return None
    try:
        return ctypes.CDLL("libc.so.6")
    except OSError:
        return None


def reset_peak(device: torch.device) -> None:
    """Start a new measurement of the peak."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    library = glibc()
    if library is not None:
        library.malloc_trim(0)  # Memory that was freed before does not count towards the new peak.
    # If there is no such file or it may not be written, the peak since the process began counts.
    with contextlib.suppress(OSError):
        PEAK_RESET.write_text("5")


def peak_bytes(device: torch.device) -> int:
    """Return the most bytes in use since the measurement began."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return status_bytes("VmHWM") or peak_resident_bytes()


def memory_in_use() -> int:
    """Return the bytes that this process uses now."""
    return status_bytes("VmRSS") or peak_resident_bytes()


def total_memory(device: torch.device) -> int:
    """Return the bytes of the GPU, or those of this machine; 0 if they are not known."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return available_memory.total_memory()


def status_bytes(name: str) -> int:
    """Return a field of /proc/self/status in bytes; 0 if it is missing."""
    try:
        lines = STATUS.read_text().splitlines()
    except OSError:
        return 0
    fields = (line.split() for line in lines if line.startswith(f"{name}:"))
    return next((int(words[1]) * 1024 for words in fields), 0)


def peak_resident_bytes() -> int:
    """Return the most memory that this process ever had, as the C library reports it."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Elsewhere it is in KiB.
