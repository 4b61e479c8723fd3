"""Timing two ways of doing the same, in turn and in one process, so that noise meets both."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from statistics import median

import torch

from ddspec.engine.control import Control
from ddspec.engine.machine.memory import glibc, keep_freed_memory, memory_in_use, peak_memory

TimedCall = Callable[[], object]

GLIBC_LARGEST = 32 * 2**20
"""Size above which glibc, left alone, asks the system for every block anew."""
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def set_allocator(kept: bool) -> None:
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


@dataclass(frozen=True)
class Side:
    """One way of doing the work."""

    work: TimedCall
    threads: int
    own_allocator: bool = True
    deterministic: bool = True
    counted: float = 0.0
    """Operations of the work, where a case looks at how its time grows with them."""


@dataclass(frozen=True)
class Timed:
    """Seconds of every repetition, and the peak of memory over what was in use before."""

    seconds: tuple[float, ...]
    memory_bytes: int
    counted: float = 0.0
    """Operations, where a case counts them."""

    @property
    def middle(self) -> float:
        """The median."""
        return median(self.seconds)


def compare_ways(
    sides: Mapping[str, Side], repetitions: int, device: torch.device
) -> dict[str, Timed]:
    """Every side once for its peak memory and to warm up, then all in turn, forth and back.

    A change of the allocator gives memory back to the system; the side that comes after it runs
    once before it is timed, because no long run pays for its memory more than once.
    """
    peaks = {name: peak_of(side, device) for name, side in sides.items()}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    names, kept = list(sides), None
    for repetition in range(repetitions):
        for name in names if repetition % 2 == 0 else reversed(names):
            if sides[name].own_allocator != kept:
                kept = sides[name].own_allocator
                set_allocator(kept)
                once(sides[name], device)
            seconds[name].append(once(sides[name], device))
    return {
        name: Timed(tuple(seconds[name]), peaks[name], side.counted) for name, side in sides.items()
    }


def once(side: Side, device: torch.device) -> float:
    """Seconds of one run."""
    torch.set_num_threads(side.threads)
    torch.set_deterministic_debug_mode("error" if side.deterministic else "default")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    began = time.perf_counter()
    side.work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def peak_of(side: Side, device: torch.device) -> int:
    """Peak memory of one run over what was in use before; what workers held adds to it."""
    set_allocator(side.own_allocator)
    with peak_memory(device) as peak:
        base = torch.cuda.memory_allocated(device) if device.type == "cuda" else memory_in_use()
        CREW.workers_bytes = 0
        once(side, device)
    return peak.bytes - base + CREW.workers_bytes


CREW = Control()
"""What workers of the engine's side report to."""


def ratios(slow: Timed, fast: Timed) -> tuple[float, float, float]:
    """How many times as fast: least, median and most over the repetitions."""
    pairs = [a / b for a, b in zip(slow.seconds, fast.seconds, strict=True)]
    return min(pairs), median(pairs), max(pairs)


def results_json(timings: Mapping[str, Timed]) -> dict[str, object]:
    """Every number that was measured."""
    return {name: asdict(timed) for name, timed in timings.items()}
