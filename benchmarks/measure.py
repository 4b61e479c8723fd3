"""Timing two ways of doing the same, in turn and in one process, so that noise meets both."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from statistics import median

import torch

from ddspec.engine.memory import glibc, keep_freed_memory, memory_in_use, peak_memory

Work = Callable[[], object]

GLIBC_LARGEST = 32 * 2**20
"""Size above which glibc, left alone, asks the system for every block anew."""
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


@contextmanager
def allocator(kept: bool) -> Iterator[None]:
    """Memory that is freed stays with the process, as in ddspec, or goes as glibc has it.

    What glibc does by itself is its state after blocks of every size were freed.
    """
    library = glibc()
    if kept:
        keep_freed_memory()
    elif library is not None:
        library.mallopt(M_MMAP_THRESHOLD, GLIBC_LARGEST)
        library.mallopt(M_TRIM_THRESHOLD, 2 * GLIBC_LARGEST)
        library.malloc_trim(0)
    yield


@dataclass(frozen=True)
class Side:
    """One way of doing the work."""

    work: Work
    threads: int
    own_allocator: bool = True
    deterministic: bool = True


@dataclass(frozen=True)
class Timed:
    """Seconds of every repetition, and the peak of memory over what was in use before."""

    seconds: tuple[float, ...]
    memory_bytes: int

    @property
    def middle(self) -> float:
        """The median."""
        return median(self.seconds)


def compared(sides: Mapping[str, Side], repetitions: int, device: torch.device) -> dict[str, Timed]:
    """Every side once to warm up, then all of them in turn, forth and back."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    peaks = dict.fromkeys(sides, 0)
    for repetition in range(repetitions + 1):
        names = list(sides)
        for name in names if repetition % 2 else reversed(names):
            taken, peak = once(sides[name], device)
            if repetition:
                seconds[name].append(taken)
                peaks[name] = max(peaks[name], peak)
    return {name: Timed(tuple(seconds[name]), peaks[name]) for name in sides}


def once(side: Side, device: torch.device) -> tuple[float, int]:
    """Seconds and peak memory over the base of one run."""
    torch.set_num_threads(side.threads)
    torch.set_deterministic_debug_mode("error" if side.deterministic else "default")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    with allocator(side.own_allocator), peak_memory(device) as peak:
        base = torch.cuda.memory_allocated(device) if device.type == "cuda" else memory_in_use()
        began = time.perf_counter()
        side.work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken = time.perf_counter() - began
    return taken, peak.bytes - base


def ratios(slow: Timed, fast: Timed) -> tuple[float, float, float]:
    """How many times as fast: least, median and most over the repetitions."""
    pairs = [a / b for a, b in zip(slow.seconds, fast.seconds, strict=True)]
    return min(pairs), median(pairs), max(pairs)


def as_json(found: Mapping[str, Timed]) -> dict[str, object]:
    """Every number that was measured."""
    return {name: asdict(timed) for name, timed in found.items()}
