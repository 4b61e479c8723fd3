"""Files that appear complete or not at all: a temporary file is written and renamed."""

import contextlib
import glob
import hashlib
import os
import platform
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from ddspec.dsl.deferring_file import DeferringFile

BOOT_ID, PID_NAMESPACE = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")


def process_space() -> str:
    """Return a hash of the machine, its boot and the PID namespace.

    Only within one such space does a process number mean one process: containers on one machine
    have the same host name and cannot see each other's processes.
    """
    parts = [platform.node()]
    with contextlib.suppress(OSError):  # Only Linux has these files.
        parts += [BOOT_ID.read_text().strip(), str(PID_NAMESPACE.readlink())]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]


PROCESS_SPACE = process_space()

# Folders that are unpacked or filled before they get their name are named in the same way.
LEFTOVER = re.compile(r"\..+\.([0-9a-f]{8})-(\d+)-[0-9a-f]{8}([0-9a-f]{8})?", re.DOTALL)
"""Temporary name: `.NAME.SPACE-PROCESS-RANDOM`. ddspec 0.1.0 had a shorter RANDOM."""

LEFTOVER_SECONDS = 3600
"""Age at which a temporary file of another process space counts as abandoned.

Its writer cannot be seen from here, and no file goes unwritten for that long.
"""


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to, which replaces `path` if no exception is raised.

    Creates missing folders, and removes temporary files that killed writers left behind. The
    temporary file is new: a link that somebody planted in the folder is never followed. If the
    system fails, its OSError names `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path)
    temporary = new_file_beside(path)
    try:
        with naming_file(path, temporary):
            yield temporary
            # Bytes first, name second: a kill in between loses the file but leaves none
            # half-written.
            flush_to_disk(temporary)
            temporary.replace(path)
    finally:
        # A temporary file that cannot be removed is removed by a later writer.
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def naming_file(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Let errors of the system name `path` if they name no file, or the temporary one.

    Failed writes and flushes name none, and nobody knows the file by its temporary name.
    """
    try:
        yield
    except OSError as error:
        unnamed = error.filename is None and error.errno is not None
        if unnamed or (temporary is not None and str(error.filename) == str(temporary)):
            error.filename, error.filename2 = str(path), None
        raise


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Yield a binary file for a library to write, which replaces `path` when it is whole.

    The library meets no failure of the system: the first one is raised when the block ends.
    """
    with atomic_write(path) as temporary, DeferringFile(temporary) as file:
        yield cast("IO[bytes]", file)


NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
"""Flag of `os.open` that refuses links; 0 on systems without it."""


def new_file_beside(path: Path) -> Path:
    """Create an empty file beside `path`, under a name that nobody can guess; return its path."""
    while True:
        temporary = temporary_name(path)
        # O_EXCL fails if anything has that name, even a link that leads nowhere.
        with contextlib.suppress(FileExistsError), naming_file(path, temporary):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_FOLLOW
            os.close(os.open(temporary, flags, 0o666))
            return temporary


def new_folder_beside(path: Path) -> Path:
    """Create an empty folder beside `path` under a temporary name, and remove abandoned ones.

    Only this user may read it. Whoever made it removes or renames it.
    """
    remove_leftovers(path)
    with naming_file(path, temporary := temporary_name(path)):
        temporary.mkdir(mode=0o700)
    return temporary


def temporary_name(path: Path) -> Path:
    """Return a path beside `path` that nobody can guess and that names this process."""
    writer = f"{PROCESS_SPACE}-{os.getpid()}-{secrets.token_hex(8)}"
    return path.with_name(f".{name_in_temporary(path)}.{writer}")


MOST_NAME_BYTES = 200
"""Longest name that temporary names repeat; file systems take 255 bytes in all."""


def name_in_temporary(path: Path) -> str:
    """Return the name of a path for use in temporary names, or its hash if the name is long."""
    name = os.fsencode(path.name)
    return path.name if len(name) <= MOST_NAME_BYTES else hashlib.sha256(name).hexdigest()


def flush_to_disk(path: Path) -> None:
    """Write to disk whatever the system still holds of a file in memory."""
    descriptor = os.open(path, os.O_RDONLY | NO_FOLLOW)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> Path:
    """Write a text file in UTF-8, completely or not at all, and return its path."""
    return write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> Path:
    """Write a file completely or not at all, and return its path."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
    return path


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files and folders of killed writers of `path`."""
    for leftover in path.parent.glob(f".{glob.escape(name_in_temporary(path))}.*"):
        remove_if_abandoned(leftover)


def remove_if_abandoned(path: Path) -> bool:
    """Remove a temporary file or folder whose writer has ended; return whether it was removed.

    That of a writer in another process space is removed when it is old.
    """
    match = LEFTOVER.fullmatch(path.name)
    if match is None:
        return False
    with contextlib.suppress(OSError):
        if match[1] == PROCESS_SPACE:
            abandoned = not process_exists(int(match[2]))
        else:
            abandoned = seconds_since_write(path) > LEFTOVER_SECONDS
        if abandoned and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
            return True
        if abandoned:
            path.unlink()
            return True
    return False


OLDER_LEFTOVER = re.compile(r"\..+\.(html|json|csv)\.\d+", re.DOTALL)
"""Temporary name of a page or a figure's numbers in ddspec 0.1.0: `.NAME.PROCESS`."""


def remove_leftovers_in(folder: Path) -> None:
    """Remove what killed writers left in a folder, whatever they were writing."""
    if folder.is_symlink() or not folder.is_dir():
        return
    for path in folder.glob(".*"):
        if OLDER_LEFTOVER.fullmatch(path.name):
            with contextlib.suppress(OSError):
                if seconds_since_write(path) > LEFTOVER_SECONDS:
                    path.unlink()
        else:
            remove_if_abandoned(path)


def seconds_since_write(path: Path) -> float:
    """Return the age of a file, or of the youngest file in a folder.

    The clock is that which stamps the files beside it. On a network file system that is the
    server's clock, from which this machine's may differ.
    """
    try:
        stamped = new_file_beside(path.with_name("clock"))
        try:
            now = stamped.stat().st_mtime
        finally:
            stamped.unlink(missing_ok=True)
    except OSError:  # The folder may be read-only.
        now = time.time()
    inside = path.rglob("*") if path.is_dir() and not path.is_symlink() else ()
    latest: float = max(file.lstat().st_mtime for file in (path, *inside))
    return now - latest


def process_exists(process: int) -> bool:
    """Return whether a process of this machine is running."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # It belongs to another user.
    return True
