"""One changed byte of any file of a run folder is found, or the file is said to be not checked."""

import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest

from ddspec.dsl.diagnostics import DdspecError
from ddspec.verification import verify


@pytest.fixture
def copy(smoke_run: Path, tmp_path: Path) -> Path:
    """A run folder that may be changed, with progress in it; the store is two folders up."""
    shutil.copytree(smoke_run.parent.parent, tmp_path / "copy")
    run = tmp_path / "copy" / "runs" / smoke_run.name
    (run / "events.jsonl").write_text('{"step": "distill", "done": 12, "total": 12}\n')
    return run


@contextmanager
def flipped(path: Path, draw: random.Random) -> Iterator[str]:
    """Change one bit of a file for the block; yield where."""
    content = path.read_bytes()
    changed, at = bytearray(content), draw.randrange(len(content))
    changed[at] ^= 1 << draw.randrange(8)
    path.write_bytes(changed)
    yield f"{path.name}, byte {at} of {len(content)}"
    path.write_bytes(content)


def findings(run: Path) -> list[tuple[str, str, str]]:
    """Return what is not in order; a refused record is a fault too."""
    try:
        checks = list(verify(run, store=run.parent.parent / "store", evaluate=False))
    except DdspecError as error:
        return [("record.json", "fault", str(error))]
    return [(check.what, check.verdict, check.detail) for check in checks if check.verdict != "ok"]


def content_of(path: Path) -> dict[str, bytes]:
    """Return all arrays and attributes of an HDF5 file by name, with their types and shapes."""
    content: dict[str, bytes] = {}

    def describe(name: str, value: object) -> None:
        array = np.asarray(value)
        content[name] = f"{array.dtype} {array.shape} ".encode() + array.tobytes()

    with h5py.File(path, "r") as file:
        for owner in (file, *file.values()):
            for name, value in owner.attrs.items():
                describe(f"{owner.name}@{name}", value)
            if isinstance(owner, h5py.Dataset):
                describe(owner.name, owner[()])
    return content


def check_flips_in_run_folder(run: Path, seed: int, count: int) -> None:
    """Assert that each of some changed bytes leads to another finding than an unchanged run."""
    draw, honest = random.Random(seed), findings(run)
    assert {verdict for _, verdict, _ in honest} == {"not checked"}
    files = sorted(path for path in run.rglob("*") if path.is_file())
    for number in range(count):
        path = files[number % len(files)] if count >= len(files) else draw.choice(files)
        with flipped(path, draw) as where:
            named = (path.name, "not checked") in [finding[:2] for finding in honest]
            assert named or findings(run) != honest, where


def check_flips_in_store(run: Path, seed: int, count: int) -> int:
    """Assert that each changed byte of an artifact is a fault, or changes nothing that is read.

    Returns the number of those that changed nothing.
    """
    draw, harmless = random.Random(seed), 0
    files = sorted((run.parent.parent / "store").rglob("*.h5"))
    before = {path: content_of(path) for path in files}
    for _ in range(count):
        path = draw.choice(files)
        with flipped(path, draw) as where:
            if not any(verdict == "fault" for _, verdict, _ in findings(run)):
                harmless += 1
                assert content_of(path) == before[path], where
    return harmless


@pytest.mark.slow
def test_changed_byte_is_found_or_its_file_is_not_checked(copy: Path):
    check_flips_in_run_folder(copy, seed=0, count=8)


@pytest.mark.slow
def test_changed_byte_of_an_artifact_is_found_or_harmless(copy: Path):
    assert check_flips_in_store(copy, seed=0, count=4) < 4


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 4))
def test_hundred_changed_bytes_are_found_or_harmless(copy: Path, seed: int):
    check_flips_in_run_folder(copy, seed, count=60)
    assert check_flips_in_store(copy, seed, count=40) < 40
