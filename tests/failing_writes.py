"""Let single writing calls of a run fail, and report how it ends (for test_failing_writes.py).

    python failing_writes.py SPEC FOLDER SEED TRIALS

A run is `ddspec run`, `report` and `export` of a small spec, each in a fork of this process. The
calls of an undisturbed run are listed first. Then each trial lets one of them fail, runs the same
commands again without failures, and prints one line of JSON: the call, the error, the exit codes
and stderr of the disturbed commands, and what the next run left that differs.
"""

import builtins
import errno
import io
import json
import os
import random
import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sklearn.datasets  # noqa: F401
import torch
from killing import contents

from ddspec.cli import entry, main
from ddspec.dsl.atomic_write import LEFTOVER
from ddspec.engine.exchange import export  # noqa: F401
from ddspec.engine.machine import speed_probe
from ddspec.engine.run import execute  # noqa: F401
from ddspec.reports.pages import run as run_page  # noqa: F401

ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES)
WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@dataclass(frozen=True)
class Call:
    """The `number`-th call of one kind for files of one name (see `short_name`)."""

    kind: str
    file: str
    number: int


def short_name(file: str) -> str:
    """Return a name that many files share: without digests, numbers and names of figures."""
    file = re.sub(r"\b[0-9a-f]{32}\b", "DIGEST", file)
    file = re.sub(r"\.[0-9a-f]{8}-\d+-[0-9a-f]{16}$", ".TEMPORARY", file)
    file = re.sub(r"\.clock-\w+$", ".clock", file)
    file = re.sub(r"figures/(\.?)[\w-]+", r"figures/\1NAME", file)
    file = re.sub(r"(class|iteration|rates|smoke)-[\w-]+", r"\1-N", file)
    return re.sub(r"images/.*/", "images/CLASS/", file) if file.startswith("to/") else file


class Calls:
    """Writing calls below a folder: their list, and the one that fails."""

    def __init__(self, folder: Path, fail: Call | None = None, error: int = 0) -> None:
        self.folder, self.fail, self.error = folder, fail, error
        self.counted: Counter[tuple[str, str]] = Counter()
        self.log = os.open(folder / "calls", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.write = os.write

    def meet(self, kind: str, target: Any) -> None:
        """Count a call on a path or a descriptor; raise OSError if it is the one that fails."""
        path = Path(os.fsdecode(target) if not isinstance(target, int) else "").absolute()
        if isinstance(target, int):
            path = Path(f"/proc/self/fd/{target}").readlink()
        if not str(path).startswith(
            (f"{self.folder}/store", f"{self.folder}/runs", f"{self.folder}/to")
        ):
            return
        file = short_name(str(path)[len(str(self.folder)) + 1 :])
        call = Call(kind, file, self.counted[kind, file])
        self.counted[kind, file] += 1
        self.write(self.log, (json.dumps([call.kind, call.file, call.number]) + "\n").encode())
        if call == self.fail:
            # Each worker process has its own first call, so several may fail.
            with (self.folder / "failed").open("a") as failed:
                failed.write(f"{path}\n")
            # A failed fsync names no file, as the system's does.
            named = () if isinstance(target, int) else (os.fsdecode(target),)
            raise OSError(self.error, os.strerror(self.error), *named)

    def patch(self) -> None:
        """Put this list between Python and the system."""
        for name in ("mkdir", "unlink", "remove", "rmdir", "truncate", "fsync", "ftruncate"):
            self.patch_function(name, 0)
        for name in ("replace", "rename", "link", "symlink"):
            self.patch_function(name, 1)
        real_open = os.open

        def patched_open(path: Any, flags: int, *rest: Any, **options: Any) -> int:
            if flags & WRITE_FLAGS:
                self.meet("open", path)
            return real_open(path, flags, *rest, **options)

        os.open = patched_open  # type: ignore[assignment]
        io.open = builtins.open = self.patched_io(io.open)  # type: ignore[assignment]

    def patch_function(self, name: str, argument: int) -> None:
        """Count the calls of a function of `os` whose path is its argument of that number."""
        real = getattr(os, name)

        def patched(*arguments: Any, **options: Any) -> Any:
            self.meet(name, arguments[argument])
            return real(*arguments, **options)

        setattr(os, name, patched)

    def patched_io(self, real: Callable[..., Any]) -> Callable[..., Any]:
        """Return `open` for files that count their writes."""
        calls = self

        class CountedFile(io.FileIO):
            def write(self, data: Any) -> int:
                calls.meet("write", self.fileno())
                return super().write(data)

            def truncate(self, size: int | None = None) -> int:
                calls.meet("truncate", self.fileno())
                return super().truncate(size)

        def patched(file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **options: Any):
            if not set(mode) & set("wax+") or isinstance(file, int):
                return real(file, mode, buffering, *rest, **options)
            calls.meet("open", file)
            raw = CountedFile(file, mode.replace("b", "").replace("t", ""))
            if buffering == 0:
                return raw
            kind = io.BufferedRandom if "+" in mode else io.BufferedWriter
            return kind(raw) if "b" in mode else io.TextIOWrapper(kind(raw), *rest, **options)

        return patched


def command(folder: Path, arguments: list[str], calls: Callable[[], Calls | None]) -> int:
    """Run one command in a fork; append its stderr to `folder/stderr`; return its exit code."""
    process = os.fork()
    if process == 0:
        code = 99
        try:
            for number, name in ((1, "stdout"), (2, "stderr")):
                os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
            sys.argv = ["ddspec", *arguments]
            patch = calls()
            if patch is not None:
                patch.patch()
            entry.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        finally:
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def commands(folder: Path, spec: Path, calls: Callable[[], Calls | None]) -> list[int]:
    """Run, report and export; return the exit codes until the first that is not 0."""
    folder.mkdir(exist_ok=True)
    codes = [
        command(
            folder,
            ["run", str(spec), "--store", f"{folder}/store", "--runs", f"{folder}/runs"],
            calls,
        )
    ]
    if codes[0] == 0:
        (run,) = (folder / "runs").iterdir()
        codes.append(command(folder, ["report", str(run), "--assets"], calls))
        codes.append(command(folder, ["export", str(run), "--to", f"{folder}/to"], calls))
    return codes


def exported(folder: Path) -> dict[str, str]:
    """Return the bytes of all exported files as text."""
    paths = sorted(path for path in (folder / "to").rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes().hex() for path in paths}


def place(call: Call) -> str:
    """Return what kind of file a call is for."""
    top, _, rest = call.file.partition("/")
    if top == "store":
        for name, what in (("claims", "lock"), ("h5", "artifact")):
            if name in rest:
                return what
        return "note"
    return "progress" if rest.endswith("events.jsonl") else top


def chosen(listed: list[Call], trials: int, seed: int) -> list[Call]:
    """Return a call of each kind and place, then others at random."""
    draw = random.Random(seed)
    groups: dict[tuple[str, str], list[Call]] = {}
    for call in listed:
        groups.setdefault((call.kind, place(call)), []).append(call)
    each = [draw.choice(calls) for calls in groups.values()]
    # Of the others first one of each name, so that many trials meet every file.
    names: dict[tuple[str, str], list[Call]] = {}
    for call in listed:
        names.setdefault((call.kind, call.file), []).append(call)
    rest = [call for call in map(draw.choice, names.values()) if call not in each]
    draw.shuffle(rest)
    return [*each, *rest][: max(trials, len(each))]


def trial(folder: Path, spec: Path, call: Call, error: int, expected: dict[str, str]) -> Any:
    """Let one call fail, run again without, and compare with what is expected."""
    folder.mkdir()
    # Each command has calls of its own, and the call may be in a later one.
    codes = commands(folder, spec, lambda: Calls(folder, call, error))
    stderr, failed = (folder / "stderr").read_text(), list[str]()
    if (folder / "failed").exists():
        failed = (folder / "failed").read_text().splitlines()
    shutil.rmtree(folder / "to", ignore_errors=True)
    again = commands(folder, spec, lambda: None)
    left = {**contents(folder), **exported(folder)} if again == [0, 0, 0] else {}
    return {
        "call": [call.kind, call.file, call.number],
        "place": place(call),
        "files": failed,
        "error": os.strerror(error),
        "codes": codes,
        "stderr": stderr,
        "again": again,
        "said_again": (folder / "stderr").read_text()[len(stderr) :],
        "differs": sorted(k for k in expected.keys() | left if expected.get(k) != left.get(k)),
        "left": [path.name for path in folder.rglob(".*") if LEFTOVER.fullmatch(path.name)],
    }


def run_trials() -> None:
    """List the calls of an undisturbed run, then let some fail, as the arguments say."""
    spec, folder = Path(sys.argv[1]), Path(sys.argv[2]).resolve()
    seed, trials = int(sys.argv[3]), int(sys.argv[4])
    torch.set_num_threads(1)
    speed_probe.SECONDS_EACH = 0.0  # Measured speeds affect estimates only.
    first = folder / "undisturbed"
    assert commands(first, spec, lambda: Calls(first)) == [0, 0, 0], (first / "stderr").read_text()
    expected = {**contents(first), **exported(first)}
    lines = map(json.loads, dict.fromkeys((first / "calls").read_text().splitlines()))
    listed = [Call(*line) for line in lines]
    sys.stdout.write(
        json.dumps({"calls": len(listed), "groups": len({(c.kind, place(c)) for c in listed})})
        + "\n"
    )
    draw = random.Random(seed)
    for number, call in enumerate(chosen(listed, trials, seed)):
        error, met = draw.choice(ERRORS), False
        while not met:
            report = trial(folder / f"trial-{number}", spec, call, error, expected)
            shutil.rmtree(folder / f"trial-{number}")
            # Workers share tasks out anew in each run, and may each meet fewer calls.
            met = bool(report["files"]) or call.number == 0
            call = Call(call.kind, call.file, call.number // 2)
        sys.stdout.write(json.dumps(report) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    assert main
    run_trials()
