"""What the command line prints: no text forges a line, and no message ends a run."""

import errno
import io
import os

import pytest

from ddspec.cli import printing
from ddspec.cli.entry import OutputError


class FullStream(io.StringIO):
    """A log on a full disk."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def closed_stream() -> io.StringIO:
    """Return a stream that was closed."""
    stream = io.StringIO()
    stream.close()
    return stream


def test_names_cannot_forge_lines(capsys):
    printing.print_line("fault: files\nverified")
    printing.print_stderr("warning\x1b[2J")
    printed = capsys.readouterr()
    assert printed.out == "fault: files\\nverified\n"
    assert printed.err == "warning\\x1b[2J\n"


@pytest.mark.parametrize(
    "stream", [closed_stream(), FullStream(), None], ids=["closed", "full", "none"]
)
def test_message_that_cannot_be_printed_is_left_out(monkeypatch, stream):
    monkeypatch.setattr("sys.stderr", stream)
    printing.print_stderr("progress")
    printing.print_stderr_text("two\nlines")


def test_result_that_cannot_be_printed_is_an_error(monkeypatch):
    monkeypatch.setattr("sys.stdout", FullStream())
    with pytest.raises(OutputError, match="No space left"):
        printing.print_line("accuracy 91.69 %")


def test_json_is_one_line_in_ascii(capsys):
    printing.print_json({"name": "müsli\n"})
    assert capsys.readouterr().out == '{"name":"m\\u00fcsli\\n"}\n'


def test_warning_of_a_library_is_one_escaped_and_cut_line(capsys):
    message = "first \x1b[2J" + "x" * 1000 + "\nerror: forged"
    printing.print_warning(UserWarning(message), UserWarning, "/site/torch/a.py", 7)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(r"warning of a.py:7: first \x1b[2Jxxx")
    assert len(line) < 300
