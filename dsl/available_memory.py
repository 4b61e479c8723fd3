"""How much memory this process may take, and refusal of more before it is taken.

The size of what a file or a spec asks for is known before memory is allocated. Without a check
the system would kill the process, or another one, when the pages are written.
"""

import contextlib
import os
import sys
from pathlib import Path

from ddspec.dsl.diagnostics import MachineError

CONTAINER = Path("/sys/fs/cgroup")
MEMORY_FACTS = Path("/proc/meminfo")
SIZES_OF_PROCESS = Path("/proc/self/statm")


def total_memory() -> int:
    """Return the bytes of this machine, or of its container; 0 if they are not known."""
    limits = [container_limit()] if container_limit() else []
    with contextlib.suppress(AttributeError, OSError, ValueError):
        limits.append(page_size() * os.sysconf("SC_PHYS_PAGES"))
    return min(limits, default=0)


def memory_limit() -> int:
    """Return the most bytes that this process may ever have; 0 if they are not known."""
    return min((size for size in (total_memory(), address_limit()) if size), default=0)


def available_memory() -> int:
    """Return the bytes that this process may still take; 0 if they are not known."""
    free = []
    if (facts := memory_facts()).get("MemAvailable"):
        free.append(facts["MemAvailable"] + facts.get("SwapFree", 0))
    if limit := container_limit():
        with contextlib.suppress(OSError, ValueError):
            free.append(limit - int((CONTAINER / "memory.current").read_text()) + file_cache())
    if limit := address_limit():
        with contextlib.suppress(OSError, ValueError):
            free.append(limit - page_size() * int(SIZES_OF_PROCESS.read_text().split()[0]))
    return max(1, min(free)) if free else total_memory()


def claim(size: float, what: str, hint: str = "") -> None:
    """Raise MachineError if more bytes are asked for than this process may still take.

    `what` names what needs them, as the beginning of a sentence; `hint` says what to change.
    """
    available = available_memory()
    if available and size > available:
        raise MachineError(
            f"{what} needs {in_gigabytes(size)} of memory, but {in_gigabytes(available)} of the "
            f"{in_gigabytes(memory_limit())} that this process may use are available",
            hint=hint,
        )


def in_gigabytes(size: float) -> str:
    """Return a number of bytes in GB, with three significant digits."""
    return f"{size / 1e9:,.0f} GB" if size >= 99.5e9 else f"{size / 1e9:.3g} GB"


def container_limit() -> int:
    """Return the limit of the container's memory in bytes; 0 if there is none."""
    with contextlib.suppress(OSError, ValueError):
        return int((CONTAINER / "memory.max").read_text())  # Without a limit it says "max".
    return 0


def file_cache() -> int:
    """Return the bytes of the container that hold files and are given back when needed."""
    with contextlib.suppress(OSError, ValueError):
        for line in (CONTAINER / "memory.stat").read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == "inactive_file":
                return int(value)
    return 0


def memory_facts() -> dict[str, int]:
    """Return what Linux says of its memory, in bytes by name; nothing on other systems."""
    facts = {}
    with contextlib.suppress(OSError, ValueError):
        for line in MEMORY_FACTS.read_text().splitlines():
            name, _, value = line.partition(":")
            facts[name] = int(value.split()[0]) * 1024
    return facts


def address_limit() -> int:
    """Return the limit of the process's address space (`ulimit -v`); 0 if there is none."""
    if sys.platform == "win32":
        return 0
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return 0 if limit == resource.RLIM_INFINITY else limit


def page_size() -> int:
    """Return the bytes of a page of memory."""
    return os.sysconf("SC_PAGE_SIZE")
