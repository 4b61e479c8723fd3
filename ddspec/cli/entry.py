"""The console script: streams, interruption and unexpected errors, whatever the command.

It is imported before everything else, so that Ctrl-C is answered in words from the beginning.
"""

import os
import signal
import sys
from types import FrameType
from typing import Any

from ddspec.cli.texts.colour import coloured

RUN_FAILED, UNFIT, INTERRUPTED = 1, 5, 130
READER_GONE = 141
"""What a shell says of a tool that ended by SIGPIPE, as `head` ends others."""

STOPPED = "stopped by SIGINT; run the same command to continue"


class OutputError(Exception):
    """A result that could not be printed; `cause` is the system's error.

    It is not an OSError: commands report those as faults of the files that they read or write.
    """

    def __init__(self, cause: OSError) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Interruption:
    """Whether SIGINT came while no run listened to it."""

    received = False


def main() -> None:
    """Run the command line, as the entry point of the console script."""
    prepare_streams()
    if refusal := system_refusal(sys.platform):
        write_error(refusal)
        sys.exit(UNFIT)
    # A shell starts background jobs with SIGINT ignored, which is left so.
    listens = signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
    if listens:
        signal.signal(signal.SIGINT, leave_at_once)
    from ddspec.cli.main import app  # Imports for half a second.

    show_warnings_in_lines()
    code = run(app, interrupt if listens else None)
    if code == INTERRUPTED and Interruption.received:
        write_error(STOPPED)
        # Python would end by the signal, not with the code, if it interrupted code that a library
        # had compiled from text (`exec` of a string), whoever caught it afterwards.
        os._exit(flushed(code))
    sys.exit(flushed(code))


def system_refusal(platform: str) -> str:
    """Return why ddspec does not run on a system, as Python names it; empty if it does."""
    if platform != "win32":
        return ""
    return (
        "error: ddspec does not run on Windows itself: its store needs the locks of POSIX\n"
        "  hint: install it in the Windows Subsystem for Linux"
    )


def prepare_streams() -> None:
    """Make standard streams that can be written to, whatever text comes and whoever closed them.

    A closed stream is replaced by the null device; otherwise the next file that is opened would
    take its number, and messages of libraries would be written into that file.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # Takes the lowest free number, which is this one.
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, closefd=False))
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            # A character that the encoding lacks is shown by its number.
            reconfigure(errors="backslashreplace")


def show_warnings_in_lines() -> None:
    """Print each warning of a library as one line, as all texts of others."""
    import warnings

    from ddspec.cli.printing import print_warning

    warnings.showwarning = print_warning


def leave_at_once(number: int, frame: FrameType | None) -> None:
    """End the process before a command begins or after it, when nothing can be lost."""
    write_error(STOPPED)
    os._exit(INTERRUPTED)


def interrupt(number: int, frame: FrameType | None) -> None:
    """Interrupt a command that does not listen to signals itself."""
    Interruption.received = True
    raise KeyboardInterrupt


def run(app: Any, on_interrupt: Any = None) -> int:
    """Run the command that the arguments name; return the exit code.

    `on_interrupt` handles SIGINT during the command; afterwards it ends the process at once.
    """
    try:
        try:
            if on_interrupt is not None:
                signal.signal(signal.SIGINT, on_interrupt)
            app()
        finally:
            if on_interrupt is not None:
                signal.signal(signal.SIGINT, leave_at_once)
    except SystemExit as end:
        return exit_code(end)
    except KeyboardInterrupt:
        return INTERRUPTED
    except OutputError as error:
        return tell_unwritten(error.cause)
    except OSError as error:
        return tell_system_error(error)
    except Exception as error:
        if Interruption.received:
            return (
                INTERRUPTED  # Some libraries turn a KeyboardInterrupt into an error of their own.
            )
        return tell_fault(error)
    return 0


def exit_code(end: SystemExit) -> int:
    """Return the exit code that an exception stands for."""
    if end.code is None:
        return 0
    return end.code if isinstance(end.code, int) else RUN_FAILED


def tell_fault(error: Exception) -> int:
    """Tell of an error that is ddspec's own fault; return the exit code.

    The traceback goes to a file, or to stderr if DDSPEC_TRACEBACK is set.
    """
    import tempfile
    import traceback

    text = "".join(traceback.format_exception(error))
    from ddspec.dsl.terminal_text import message_of

    write_error(f"error: a fault of ddspec: {type(error).__name__}: {message_of(error)}")
    if os.environ.get("DDSPEC_TRACEBACK"):
        write_error(text)
        return RUN_FAILED
    try:
        number, path = tempfile.mkstemp(prefix="ddspec-fault-", suffix=".txt")
        with os.fdopen(number, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError:
        write_error("  = hint: please report it; DDSPEC_TRACEBACK=1 shows where it happened")
    else:
        write_error(f"  = hint: please report it with the file {path}; what was finished is kept")
    return RUN_FAILED


def tell_system_error(error: OSError) -> int:
    """Tell of an error of the system that no command told of; return the exit code."""
    from ddspec.dsl.terminal_text import message_of, terminal_line

    if error.filename is None:
        return tell_unwritten(error)
    problem = error.strerror or message_of(error)
    write_error(terminal_line(f"error: {problem}: {os.fsdecode(error.filename)}"))
    return UNFIT


def tell_unwritten(error: OSError) -> int:
    """Tell of output that could not be written; return the exit code.

    Nothing is said to the user of a pipe whose reader has gone, and wants no more.
    """
    if isinstance(error, BrokenPipeError):
        return READER_GONE
    write_error(f"error: the output could not be written: {error.strerror or error}")
    return UNFIT


def flushed(code: int) -> int:
    """Write out what is left of stdout; return the exit code, which says if that failed."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        pass  # The reader has gone, and wants no more.
    except OSError as error:
        code = code or tell_unwritten(error)
    else:
        return code
    # Python would try again when it ends, and fail with a message of its own.
    sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115
    return code


def write_error(message: str) -> None:
    """Write a line to stderr, if it can be written to."""
    try:
        sys.stderr.write(f"{coloured(message, sys.stderr)}\n")
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        pass
