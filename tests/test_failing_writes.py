"""Whatever single write fails, a run ends in words, and the next one has the same bytes."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
TRIALS = 30
TEMPORARY = re.compile(r"^\.(.+)\.[0-9a-f]{8}-\d+-[0-9a-f]{16}$")


def may_be_left_out(report) -> bool:
    """Return whether a run may go on without the call that failed.

    Progress is not worth a run. A temporary file that was not removed is removed later, and a
    folder that was not made may be there already.
    """
    return report["place"] == "progress" or report["call"][0] in ("unlink", "rmdir", "mkdir")


@pytest.mark.slow
def test_failed_write_is_told_with_file_and_cause_and_loses_nothing(smoke, tmp_path):
    command = [sys.executable, TESTS / "failing_writes.py", smoke, tmp_path, "1", str(TRIALS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stderr
    counted, *reports = map(json.loads, done.stdout.splitlines())
    assert counted["calls"] > 500
    assert len(reports) >= max(TRIALS, counted["groups"])
    assert {report["place"] for report in reports} == {
        *("artifact", "note", "lock", "progress", "runs", "to")
    }
    for report in reports:
        assert report["files"], report
        for words in ("Traceback", "Exception ignored", "a fault of ddspec", "HDF5-DIAG"):
            assert words not in report["stderr"] + report["said_again"], report
        if any(report["codes"]):
            names = [TEMPORARY.sub(r"\1", Path(file).name) for file in report["files"]]
            told = [line for line in report["stderr"].splitlines() if line.startswith("error: ")]
            assert len(told) == 1, report
            assert report["error"] in told[0], report
            assert any(name in told[0] for name in names), report
            assert max(report["codes"]) == 5, report
        else:
            assert may_be_left_out(report), report
        assert report["again"] == [0, 0, 0], report
        assert report["differs"] == [], report
        assert report["left"] == [], report
