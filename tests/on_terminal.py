"""The command line on a pseudo-terminal, as people use it."""

import os
import pty
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def on_terminal(
    *arguments: str | Path, streams: Sequence[str] = ("stdout", "stderr"), **environment: str
) -> str:
    """Run the command line with these streams on a terminal; return what was shown there.

    The other stream is discarded. Variables that choose colours are those given alone.
    """
    main, end = pty.openpty()
    inherited = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-m", "ddspec", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        env={**inherited, "TERM": "xterm", **environment},
        **{name: end if name in streams else subprocess.DEVNULL for name in ("stdout", "stderr")},
    )
    os.close(end)
    shown = b"".join(iter(lambda: read_terminal(main), b""))
    process.wait()
    os.close(main)
    return shown.decode().replace("\r\n", "\n")


def read_terminal(main: int) -> bytes:
    """Return what comes next from a terminal; nothing if its programs have ended."""
    try:
        return os.read(main, 10_000)
    except OSError:  # Linux says so that the other end is closed.
        return b""
