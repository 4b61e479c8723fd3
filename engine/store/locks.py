"""Who works on what: of two runs that want the same artifact, one makes it and the other waits.

A claim is a lock on a small file of the store; the system lets go of it when its process ends, in
whatever way. Where there are no such locks, both make the artifact, and the second takes the place
of the first with the same content.
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
WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What file systems answer that have no locks."""
ASK_EVERY_SECONDS = 0.2
SAY_AFTER_SECONDS = 1.0


@contextmanager
def locked(root: Path, name: str, what: str, control: Control) -> Iterator[None]:
    """Hold the claim of that name in a store, waiting for whoever holds it.

    Raises Interrupted if a signal comes while it waits.
    """
    if fcntl is None:
        yield
        return
    folder = root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        wait_for(descriptor, what, control)
        yield
    finally:
        # Closing lets go of the lock; the file stays, for another may be waiting with it.
        os.close(descriptor)


def wait_for(descriptor: int, what: str, control: Control) -> None:
    """Lock a file, asking now and then, so that signals are heard in between."""
    began, said = time.monotonic(), False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            control.leave_if_stopped()
        except OSError as error:
            if error.errno not in WITHOUT_LOCKS:
                raise
            control.say(f"{what}: no locks on this file system; another run may do the same work")
            return
        else:
            return
        if not said and time.monotonic() - began > SAY_AFTER_SECONDS:
            said = True
            control.say(f"{what}: another run is at it; waiting for what it makes")
        time.sleep(ASK_EVERY_SECONDS)
