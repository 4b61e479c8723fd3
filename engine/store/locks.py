"""Locks between runs: if two want the same artifact, one makes it and the other waits.

A lock is held on a small file of the store. The system releases it when its process ends,
however it ends. If the file system has no locks, both runs make the artifact, and the second
replaces the first with the same content.
"""

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ddspec.engine.control import Control

try:
    import fcntl
except ImportError:  # Not a POSIX system.
    fcntl = None  # type: ignore[assignment]

FOLDER = "claims"
"""Folder of a store for the files that locks are held on."""

WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""Errors of file systems that have no locks."""

BUSY = "another run is computing this; waiting for its result"
RETRY_SECONDS = 0.2
MESSAGE_AFTER_SECONDS = 1.0


@contextmanager
def locked(root: Path, name: str, what: str, control: Control) -> Iterator[bool]:
    """Hold the lock of that name in a store, after waiting for whoever holds it.

    Yields whether it had to wait.

    `what` says in messages what is waited for. Raises Interrupted if a signal comes meanwhile.
    """
    if fcntl is None:
        yield False
        return
    descriptor = open_lock(root, name)
    try:
        yield acquire(descriptor, what, control)
    finally:
        # Closing releases the lock. The file stays, because another run may wait on it.
        os.close(descriptor)


@contextmanager
def try_lock(root: Path, name: str, what: str, control: Control) -> Iterator[bool]:
    """Hold the lock of that name in a store; yield False if another process holds it.

    `what` is named in the message if the file system has no locks; the lock then counts as held.
    """
    if fcntl is None:
        yield True
        return
    descriptor = open_lock(root, name)
    try:
        yield lock_now(descriptor, what, control) is not False
    finally:
        os.close(descriptor)


def open_lock(root: Path, name: str) -> int:
    """Open the file that a lock is held on."""
    folder = root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    return os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)


def lock_now(descriptor: int, what: str, control: Control) -> bool | None:
    """Lock a file; return whether it worked, or None if the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise
        control.say(f"{what}: this file system has no locks; other runs may do the same work")
        return None
    return True


def acquire(descriptor: int, what: str, control: Control) -> bool:
    """Lock a file; return whether another process held it.

    Asks repeatedly instead of blocking, so that signals are noticed.
    """
    began, reported, waited = time.monotonic(), False, False
    while lock_now(descriptor, what, control) is False:
        waited = True
        control.leave_if_stopped()
        if not reported and time.monotonic() - began > MESSAGE_AFTER_SECONDS:
            reported = True
            control.say(f"{what}: {BUSY}")
        time.sleep(RETRY_SECONDS)
    return waited
