"""The console script: whatever its streams are and whenever it is stopped, no traceback."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ddspec.cli import entry
from tests.in_slow_run import first_by_default

SMOKE = Path(__file__).parent / "smoke.toml"
DDSPEC = [sys.executable, "-m", "ddspec"]
STOPPED = "stopped by SIGINT; run the same command to continue"


def shell(script: str, **environment: str) -> subprocess.CompletedProcess:
    """Run a shell script in which $DDSPEC is the command and $SPEC the smoke spec."""
    variables = {"DDSPEC": " ".join(DDSPEC), "SPEC": str(SMOKE), **environment}
    return subprocess.run(
        ["/bin/sh", "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, **variables},
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.15, 0.3, 0.6, 1.0, 1.5, 2.5, 4.0])
def test_interruption_at_any_moment_is_told_in_a_line(seconds, tmp_path):
    command = [*DDSPEC, "run", str(SMOKE), "--store", tmp_path / "s", "--runs", tmp_path / "r"]
    process = subprocess.Popen(
        [*command, "--set", "matching.iterations=100000", "--set", "evaluation.every=100000"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # A test runner in the background ignores the signal, and its children would too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    lines = process.communicate(timeout=120)[1].splitlines()
    assert process.returncode == 130, lines
    assert lines[-1] == STOPPED
    assert not any("Traceback" in line for line in lines)


@pytest.mark.parametrize(
    ("closed", "printed"),
    first_by_default([("<&- >&- 2>&-", ""), ("2>&-", "smoke.toml: no errors\n"), (">&-", "")]),
)
def test_closed_streams_change_no_exit_code(closed, printed):
    answer = shell(f"$DDSPEC check $SPEC {closed}")
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, printed, "")
    assert shell(f"$DDSPEC check nowhere.toml {closed}").returncode == 3


def test_file_that_is_opened_does_not_become_stderr():
    """With stderr closed, messages of libraries would be written into the next file."""
    script = (
        "from ddspec.cli.entry import prepare_streams; prepare_streams(); "
        "import os; number = os.open('/dev/null', os.O_RDONLY); print(number)"
    )
    answer = shell(f'{sys.executable} -c "{script}" 2>&-')
    assert int(answer.stdout) > 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_stdout_is_an_error_and_full_stderr_is_none():
    answer = shell("$DDSPEC explain matching.syn_steps > /dev/full")
    assert answer.returncode == 5
    assert answer.stderr == "error: the output could not be written: No space left on device\n"
    assert shell("$DDSPEC check $SPEC 2> /dev/full").returncode == 0
    assert shell("$DDSPEC check nowhere.toml 2> /dev/full").returncode == 3


def test_reader_that_has_gone_is_no_fault():
    answer = shell("$DDSPEC schema | head -1")
    assert (answer.stdout, answer.stderr) == ("{\n", "")


def test_reader_that_goes_in_the_middle_of_the_output_is_no_fault(tmp_path):
    """The shell's own `head` may be too late to see it, so the pipe is closed before."""
    read, write = os.pipe()
    os.close(read)
    answer = subprocess.run(
        [sys.executable, "-c", RESULTS], stdout=write, stderr=subprocess.PIPE, check=False
    )
    os.close(write)
    assert (answer.returncode, answer.stderr) == (141, b"")


RESULTS = """
import sys
import ddspec.cli.store as store
from ddspec.cli.errors import exit_on_error
from ddspec.cli.printing import print_lines
import ddspec.cli.entry as entry
entry.prepare_streams()
def app():
    with exit_on_error():
        print_lines(["x" * 100] * 10_000)
sys.exit(entry.flushed(entry.run(app)))
"""


def test_input_that_cannot_be_read_is_named_as_a_file():
    answer = shell("$DDSPEC report /proc/self/mem/x")
    assert answer.returncode == 5
    assert "output could not be written" not in answer.stderr
    assert "x/record.json cannot be read: Not a directory" in answer.stderr
    script = "import ddspec.cli.entry as e; e.run(lambda: open('/nowhere/a\\nb'))"
    answer = shell(f'{sys.executable} -c "{script}"')
    assert answer.stderr == "error: No such file or directory: /nowhere/a\\nb\n"


ENDING = """
import atexit, os, signal, sys, time
import ddspec.cli.entry
signal.signal(signal.SIGINT, signal.default_int_handler)
def interrupt():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(5)
atexit.register(interrupt)
sys.argv = ["ddspec", "check", sys.argv[1]]
ddspec.cli.entry.main()
"""


def test_interruption_while_python_ends_is_told_in_a_line():
    command = [sys.executable, "-c", ENDING, SMOKE]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stderr) == (130, f"{STOPPED}\n")
    assert answer.stdout == "smoke.toml: no errors\n"


WARNING = """
import sys, warnings
import ddspec.dsl.parsing.loader as loader
real = loader.load_spec_or_sweep
def load(*arguments):
    warnings.warn("two\\nlines \\x1b[2J")
    return real(*arguments)
loader.load_spec_or_sweep = load
import ddspec.cli.entry
sys.argv = ["ddspec", "check", sys.argv[1]]
ddspec.cli.entry.main()
"""


def test_warnings_of_libraries_are_escaped_lines():
    command = [sys.executable, "-c", WARNING, SMOKE]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0
    (line,) = answer.stderr.splitlines()
    assert line.startswith("warning of <string>:")
    assert line.endswith(": two")


@pytest.mark.parametrize("encoding", first_by_default(["ascii", "latin-1", "utf-8", "cp1252"]))
def test_characters_that_the_encoding_lacks_are_shown_by_number(encoding, tmp_path):
    spec = tmp_path / "a.toml"
    spec.write_text('ddspec = 1\nname = "x"\n"日本" = 1\n', encoding="utf-8")
    answer = subprocess.run(
        [*DDSPEC, "check", spec],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        check=False,
    )
    assert answer.returncode == 3
    words = (answer.stdout + answer.stderr).decode(encoding)
    assert "Traceback" not in words
    assert ("日本" if encoding == "utf-8" else r"\u65e5\u672c") in words


FAULT = """
import sys
import ddspec.dsl.parsing.loader as loader
def fail(*arguments):
    raise KeyError("strange")
loader.load_spec_or_sweep = fail
import ddspec.cli.entry
sys.argv = ["ddspec", "plan", "x.toml"]
ddspec.cli.entry.main()
"""


def test_fault_of_ddspec_is_told_in_two_lines_and_kept_in_a_file(tmp_path):
    command = [sys.executable, "-c", FAULT]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    answer = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert answer.returncode == 1
    fault, hint = answer.stderr.splitlines()
    assert fault == "error: a fault of ddspec: KeyError: 'strange'"
    (file,) = tmp_path.glob("ddspec-fault-*.txt")
    assert str(file) in hint
    assert "in fail" in file.read_text()
    environment["DDSPEC_TRACEBACK"] = "1"
    shown = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert shown.returncode == 1
    assert "in fail" in shown.stderr


@pytest.mark.parametrize(
    ("platform", "refused"), [("linux", False), ("darwin", False), ("win32", True)]
)
def test_windows_is_refused_in_words(platform, refused):
    text = entry.system_refusal(platform)
    assert bool(text) == refused
    assert not refused or "Windows Subsystem for Linux" in text
