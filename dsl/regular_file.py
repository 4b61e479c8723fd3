"""Reading files that may come from a stranger: regular files of a bounded size, nothing else.

A pipe would make its reader wait for ever, and a device may deliver bytes without end. Both are
refused before anything is read from them, with an error that says what the file is.
"""

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

MAX_TEXT_BYTES = 500_000_000
"""Largest record, plan or page that is read; a run of 100,000 iterations takes 30 MB."""

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}

# Without waiting for a writer if the file became a pipe since it was looked at.
OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
OPEN_FLAGS |= getattr(os, "O_BINARY", 0) | getattr(os, "O_NOCTTY", 0)


class UnfitFile(OSError):
    """A file that is not read, because it is too large or not a regular file.

    `strerror` says so in words, and so does the error itself.
    """

    def __str__(self) -> str:
        return str(self.strerror)


def check_mode(mode: int, path: Path) -> None:
    """Raise UnfitFile if a file of this mode is not a regular file."""
    if not stat.S_ISREG(mode):
        kind = KINDS.get(stat.S_IFMT(mode), "something else")
        raise UnfitFile(errno.EINVAL, f"it is {kind}, not a regular file", str(path))


def check_regular_file(path: Path) -> int:
    """Return the size of a regular file in bytes; a link to one is followed.

    It is for libraries that open a file by its path. Raises OSError if the file is missing,
    and UnfitFile if it is not a regular file.
    """
    try:
        state = path.stat()
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise UnfitFile(errno.ELOOP, "it is a link that leads to itself", str(path)) from None
    except ValueError:
        raise UnfitFile(errno.EINVAL, "this is not a file name", str(path)) from None
    check_mode(state.st_mode, path)
    return state.st_size


def is_there(path: Path) -> bool:
    """Return whether a folder has a file of this name, also if it is a link that leads nowhere."""
    return os.path.lexists(path)


def resolved(path: Path) -> Path:
    """Return an absolute path without links; a link that leads to itself stays as it is.

    `Path.resolve` raises a RuntimeError for such a link in Python 3.11 and 3.12.
    """
    return Path(os.path.realpath(path))


@contextlib.contextmanager
def open_regular_file(path: Path) -> Iterator[int]:
    """Open a regular file for the block and yield its descriptor.

    Raises OSError if it cannot be opened, and UnfitFile if it is not a regular file.
    """
    # Looked at before it is opened: opening alone has effects on some devices.
    check_regular_file(path)
    descriptor = os.open(path, OPEN_FLAGS)
    try:
        check_mode(os.fstat(descriptor).st_mode, path)
        yield descriptor
    finally:
        os.close(descriptor)


def read_regular_file(path: Path, limit: int = MAX_TEXT_BYTES) -> bytes:
    """Return the content of a regular file of at most `limit` bytes.

    Raises OSError if it cannot be read, and UnfitFile if it is not a regular file or is larger.
    Little more than `limit` bytes are read, even of a file that grows or hides its size.
    """
    content = bytearray()
    with open_regular_file(path) as descriptor:
        size = os.fstat(descriptor).st_size
        while size <= limit and (part := os.read(descriptor, 1 << 20)):
            content += part
            size = max(size, len(content))
    if size > limit:
        problem = f"it is larger than {limit / 1e6:g} MB, the most that is read"
        raise UnfitFile(errno.EFBIG, problem, str(path))
    return bytes(content)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a regular file.

    Raises OSError if it cannot be read or is not a regular file.
    """
    hashed = hashlib.sha256()
    with open_regular_file(path) as descriptor:
        left = os.fstat(descriptor).st_size
        # A file of /proc may deliver more than its size, and without end.
        while left >= 0 and (part := os.read(descriptor, 1 << 20)):
            hashed.update(part)
            left -= len(part)
    return hashed.hexdigest()
