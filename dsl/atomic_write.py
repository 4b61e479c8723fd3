"""Files that appear complete or not at all: a temporary file is written and renamed."""

import contextlib
import hashlib
import os
import platform
import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

HOST = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
"""Hash of the machine's name, which distinguishes machines that share a folder."""

LEFTOVER = re.compile(r"\..+\.([0-9a-f]{8})-(\d+)-[0-9a-f]{8}")
"""Temporary name of a file: `.NAME.HOST-PROCESS-RANDOM`."""

LEFTOVER_SECONDS = 3600
"""Age at which a temporary file counts as abandoned, whatever its writer does.

Processes of other machines cannot be seen, and no file takes that long to write.
"""


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to, which replaces `path` if no exception is raised.

    Creates missing folders, and removes temporary files that killed writers left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path)
    temporary = path.with_name(f".{path.name}.{HOST}-{os.getpid()}-{uuid.uuid4().hex[:8]}")
    try:
        yield temporary
        # Bytes first, name second: a kill in between loses the file but leaves none half-written.
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> Path:
    """Write a text file in UTF-8, completely or not at all, and return its path."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(text.encode())
    return path


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files of killed writers of `path`."""
    for leftover in path.parent.glob(f".{path.name}.*"):
        remove_if_abandoned(leftover)


def remove_if_abandoned(path: Path) -> bool:
    """Remove a temporary file whose writer has ended; return whether it was removed."""
    match = LEFTOVER.fullmatch(path.name)
    if match is None:
        return False
    with contextlib.suppress(OSError):
        old = time.time() - path.stat().st_mtime > LEFTOVER_SECONDS
        if old or (match[1] == HOST and not process_exists(int(match[2]))):
            path.unlink()
            return True
    return False


def process_exists(process: int) -> bool:
    """Return whether a process of this machine is running."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # It belongs to another user.
    return True
