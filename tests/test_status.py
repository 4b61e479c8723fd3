"""`ddspec status`: one look, or watching until the run has ended."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.on_terminal import on_terminal, read_terminal
from tests.reports.invented import invented_record, write_run_folder

SPEC = Path(__file__).parent.parent / "specs" / "digits_ipc1.toml"


@pytest.fixture
def ended(tmp_path) -> Path:
    """The folder of a run that is done."""
    record = invented_record(SPEC.read_text(), ())
    folder = write_run_folder(tmp_path / "runs", record, {})
    (folder / "plan.json").write_text(record.plan.model_dump_json())
    return folder


@pytest.fixture
def going_on(ended) -> tuple[Path, str]:
    """The folder of a run that has not ended, and its record for later."""
    record = (ended / "record.json").read_text()
    (ended / "record.json").unlink()
    return ended, record


def event(folder: Path, done: int) -> None:
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    fields = {"time": moment, "step": "distill", "done": done, "total": 9, "seconds_left": 3.0}
    with (folder / "events.jsonl").open("a") as file:
        file.write(json.dumps(fields) + "\n")


def end_run(folder: Path, record: str) -> None:
    """Write the record as a run does: whole or not at all."""
    (folder / "written").write_text(record)
    (folder / "written").replace(folder / "record.json")


def watching(folder: Path, *options: str, **streams) -> subprocess.Popen:
    command = [sys.executable, "-m", "ddspec", "status", folder, "--watch", *options]
    listening = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: E731
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    return subprocess.Popen(command, **streams, preexec_fn=listening)


@pytest.mark.parametrize(
    "arguments", [("{}", "--watch"), ("--watch", "{}"), ("--watch", "7", "{}"), ("{}", "--watch=7")]
)
def test_watching_a_run_that_has_ended_is_one_look(cli, ended, arguments):
    words = [str(ended) if word == "{}" else word for word in arguments]
    answer = cli("status", *words)
    assert answer.returncode == 0
    assert answer.stdout == cli("status", ended).stdout
    assert answer.stdout.splitlines()[-1] == "done"


def test_help_says_that_the_seconds_may_be_left_out(cli):
    assert "--watch [SECONDS]" in cli("status", "--help").stdout
    assert cli("status", "run", "--watch", "0").returncode == 2


def test_every_change_is_printed_until_the_run_has_ended(going_on):
    folder, record = going_on
    event(folder, 3)
    process = watching(folder, "0.1")
    shown = b""
    while b"3/9" not in shown:
        shown += os.read(process.stdout.fileno(), 10_000)
    event(folder, 4)
    while b"4/9" not in shown:
        shown += os.read(process.stdout.fileno(), 10_000)
    end_run(folder, record)
    rest, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, b"")
    assert (shown + rest).endswith(b"\ndone\n")
    assert (shown + rest).count(b"3/9") == 1
    assert b"\x1b" not in shown + rest


def test_interruption_ends_watching_quietly_and_json_is_a_line_for_each_look(going_on):
    folder, _ = going_on
    event(folder, 3)
    process = watching(folder, "0.1", "--json")
    shown = b""
    while shown.count(b"\n") < 3:
        shown += os.read(process.stdout.fileno(), 100_000)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, b"")
    looks = [json.loads(line) for line in shown.splitlines()[:3]]
    assert all(look["ended"] is None for look in looks)


def test_terminal_is_drawn_over(going_on):
    folder, record = going_on
    event(folder, 3)
    main, end = pty.openpty()
    process = watching(folder, "0.1", stdout=end, stderr=subprocess.DEVNULL)
    os.close(end)
    shown = b""
    while shown.count(b"3/9") < 2:
        shown += os.read(main, 10_000)
    end_run(folder, record)
    shown += b"".join(iter(lambda: read_terminal(main), b""))
    assert process.wait(timeout=60) == 0
    os.close(main)
    first, *again = shown.decode().split("\x1b[J")
    assert len(again) >= 2
    assert first.endswith(f"\x1b[{first.count(chr(10))}F")
    assert again[-1].endswith("done\r\n")


def test_lines_are_no_wider_than_the_terminal(going_on):
    folder, record = going_on
    end_run(folder, record)
    shown = on_terminal("status", folder, "--watch", streams=["stdout"], COLUMNS="40")
    assert max(map(len, shown.splitlines())) < 40
