"""How much memory this process uses, and how much it used at most."""

import contextlib
import ctypes
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

GROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass
class Peak:
    """The most memory that was in use while something ran."""

    bytes: int = 0
    """On a GPU its memory; else that of the process, libraries and all."""


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Peak]:
    """Measure the peak of what runs inside.

    Where the system does not let a process forget its peak (other than Linux), what came before
    counts too.
    """
    found = Peak()
    reset_peak(device)
    try:
        yield found
    finally:
        found.bytes = peak_bytes(device)


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT_BELOW, NEVER = 2**30, -1


def keep_freed_memory() -> None:
    """Let the process keep memory that tensors free, for those that come next.

    glibc gives large blocks back to the system at once, which then clears every page anew for the
    next tensor. With large batches on a CPU that costs as much as the arithmetic.
    """
    library = glibc()
    if library is not None:
        library.mallopt(M_MMAP_THRESHOLD, KEPT_BELOW)
        library.mallopt(M_TRIM_THRESHOLD, NEVER)


def glibc() -> ctypes.CDLL | None:
    """The C library, where it is glibc."""
    if platform.libc_ver()[0] != "glibc":
        return None
    try:
        return ctypes.CDLL("libc.so.6")
    except OSError:
        return None


def reset_peak(device: torch.device) -> None:
    """Begin a new measurement."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    library = glibc()
    if library is not None:
        library.malloc_trim(0)  # Memory that was freed before does not count towards the new peak.
    # Elsewhere than on Linux, or not allowed: the peak of the whole process is told.
    with contextlib.suppress(OSError):
        RESET.write_text("5")


def peak_bytes(device: torch.device) -> int:
    """The most bytes that were in use since the measurement began."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return status_bytes("VmHWM") or peak_resident_bytes()


def memory_in_use() -> int:
    """Bytes of this process now."""
    return status_bytes("VmRSS") or peak_resident_bytes()


def total_memory(device: torch.device) -> int:
    """Bytes of the GPU, or those that this process may use; 0 where that is not known."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    limits = []
    with contextlib.suppress(OSError, ValueError):
        limits.append(int(GROUP_LIMIT.read_text()))  # It may say "max".
    with contextlib.suppress(AttributeError, OSError, ValueError):
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return min(limits, default=0)


def status_bytes(name: str) -> int:
    """A field of /proc/self/status in bytes; 0 where there is none."""
    try:
        lines = STATUS.read_text().splitlines()
    except OSError:
        return 0
    found = (line.split() for line in lines if line.startswith(f"{name}:"))
    return next((int(words[1]) * 1024 for words in found), 0)


def peak_resident_bytes() -> int:
    """The most memory that this process ever had, as the C library tells it."""
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
