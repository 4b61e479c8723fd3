"""Timing of several implementations in turn, in one process, so that noise hits all."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from statistics import median

import torch

from benchmarks.workers import WORKER_MEMORY
from ddspec.engine.machine.memory import glibc, keep_freed_memory, memory_in_use, peak_memory

TimedCall = Callable[[], object]

GLIBC_LARGEST = 32 * 2**20
"""Size above which glibc by default asks the system for every block anew."""
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def set_allocator(kept: bool) -> None:
    """Keep freed memory in the process, as ddspec does, or return it, as glibc does.

    glibc adapts its thresholds to the sizes of freed blocks; the values set here are
    those that it ends with.
    """
    library = glibc()
    if kept:
        keep_freed_memory()
    elif library is not None:
        library.mallopt(M_MMAP_THRESHOLD, GLIBC_LARGEST)
        library.mallopt(M_TRIM_THRESHOLD, 2 * GLIBC_LARGEST)
        library.malloc_trim(0)


@dataclass(frozen=True)
class Side:
    """One implementation of the work that a case measures."""

    work: TimedCall
    threads: int
    keeps_memory: bool = True
    deterministic: bool = True
    counted: float = 0.0
    """Operations of the work, if the case measures how time grows with them; else 0."""


@dataclass(frozen=True)
class Timed:
    """Seconds of every repetition, and the peak memory above what was in use before."""

    seconds: tuple[float, ...]
    memory_bytes: int
    counted: float = 0.0
    """Operations of the work, if the case counts them; else 0."""

    @property
    def median_seconds(self) -> float:
        """Return the median of the repetitions."""
        return median(self.seconds)


def time_in_turns(
    sides: Mapping[str, Side], repetitions: int, device: torch.device
) -> dict[str, Timed]:
    """Run every side once to warm up, for its peak memory; then time all in turn.

    Every second repetition takes the sides in reverse order. A change of the allocator
    returns memory to the system, so the next side runs once before it is timed: a long
    run pays for its memory only once.
    """
    peaks = {name: peak_of(side, device) for name, side in sides.items()}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    names, kept = list(sides), None
    for repetition in range(repetitions):
        for name in names if repetition % 2 == 0 else reversed(names):
            if sides[name].keeps_memory != kept:
                kept = sides[name].keeps_memory
                set_allocator(kept)
                run_once(sides[name], device)
            seconds[name].append(run_once(sides[name], device))
    return {
        name: Timed(tuple(seconds[name]), peaks[name], side.counted) for name, side in sides.items()
    }


def run_once(side: Side, device: torch.device) -> float:
    """Return the seconds of one run of a side."""
    torch.set_num_threads(side.threads)
    torch.set_deterministic_debug_mode("error" if side.deterministic else "default")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    began = time.perf_counter()
    side.work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def peak_of(side: Side, device: torch.device) -> int:
    """Return the peak memory of one run above what was in use before.

    The memory of worker processes is included.
    """
    set_allocator(side.keeps_memory)
    with peak_memory(device) as peak:
        base = torch.cuda.memory_allocated(device) if device.type == "cuda" else memory_in_use()
        WORKER_MEMORY.bytes = 0
        run_once(side, device)
    return peak.bytes - base + WORKER_MEMORY.bytes


def ratios(slow: Timed, fast: Timed) -> tuple[float, float, float]:
    """Return how many times as fast `fast` is: least, median and most.

    Each ratio is that of one repetition of both.
    """
    pairs = [a / b for a, b in zip(slow.seconds, fast.seconds, strict=True)]
    return min(pairs), median(pairs), max(pairs)


def results_json(timings: Mapping[str, Timed]) -> dict[str, object]:
    """Return every measured number, ready for JSON."""
    return {name: asdict(timed) for name, timed in timings.items()}
