"""What clusters and disks do to long jobs: after each the same bytes, and nothing half-written."""

import errno
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from ddspec import api
from ddspec.dsl.diagnostics import DataError, StoreError
from ddspec.engine.control import Control
from ddspec.engine.store import store as store_module
from ddspec.engine.store.store import HOST, LEFTOVER, Store, remove_if_left, whole

TESTS = Path(__file__).parent
KILLING = TESTS / "killing.py"


def in_store(folder: Path, *overrides: str, control: Control | None = None) -> api.Run:
    """A run with store and runs of its own."""
    compiled = api.compile(api.load(TESTS / "smoke.toml", overrides), store=folder / "store")
    return api.run(compiled, runs=folder / "runs", control=control)


@pytest.fixture
def undisturbed(smoke_run: Path) -> Path:
    return smoke_run.parent.parent


def same_bytes(folder: Path, undisturbed: Path) -> None:
    """Synthetic set and numbers of the undisturbed run; nothing that was begun and left."""
    (run,), (other,) = ((one / "runs").iterdir() for one in (folder, undisturbed))
    assert (run / "synthetic.h5").read_bytes() == (other / "synthetic.h5").read_bytes()
    records = [json.loads((one / "record.json").read_text()) for one in (run, other)]
    for part in ("results", "series", "experts", "evaluations", "outcome"):
        assert records[0][part] == records[1][part]
    assert not [path for path in folder.rglob(".*") if LEFTOVER.fullmatch(path.name)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "what"), list(enumerate(("sgd", "sgd again", "convex", "ingredients"), start=1))
)
def test_killed_at_a_hundred_moments_the_next_run_ends_with_the_same_bytes(
    tmp_path, smoke, ingredients, seed, what
):
    trials = 25
    overrides = {"convex": ("trajectory=convex",), "ingredients": ingredients}.get(what, ())
    command = [sys.executable, KILLING, smoke, tmp_path, str(seed), str(trials), *overrides]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(said) == trials
    for one in said:
        assert one["well"], one
        assert one["differs"] == [], one
        assert one["half_written"] == [], one
    assert len({one["step"] for one in said}) >= 3


def test_a_full_disk_is_told_in_words_and_the_next_run_goes_on(tmp_path, undisturbed):
    number = os.fork()
    if number == 0:
        code = 3
        try:
            # No file may grow beyond this, as on a disk that is full.
            resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            in_store(tmp_path)
        except (StoreError, OSError) as error:
            (tmp_path / "said").write_text(f"{error}")
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(number, 0)[1] == 0
    assert "could not be written" in (tmp_path / "said").read_text()
    in_store(tmp_path)
    same_bytes(tmp_path, undisturbed)


def test_a_store_that_may_not_be_written_is_told_in_words(cli, smoke, tmp_path, undisturbed):
    store = tmp_path / "store"
    shutil.copytree(undisturbed / "store", store)
    read_only = OSError(errno.EROFS, "Read-only file system", str(store))
    really, really_open = store_module.whole, os.open

    def whole_elsewhere(path: Path) -> object:
        if path.is_relative_to(store):
            raise read_only
        return really(path)

    def open_elsewhere(path, *more, **how) -> int:
        if str(path).startswith(str(store)):
            raise read_only
        return really_open(path, *more, **how)

    longer = (smoke, "--set", "matching.iterations=14", "--store", store)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(store_module, "whole", whole_elsewhere)
        patched.setattr("ddspec.engine.store.locks.os.open", open_elsewhere)
        refused = cli("run", *longer)
        nothing_to_do = cli("run", smoke, "--store", store)
    assert refused.returncode == 5
    assert "Read-only file system" in refused.stderr
    assert "the same command goes on" in refused.stderr
    assert nothing_to_do.returncode == 0, nothing_to_do.stderr
    assert cli("run", *longer).returncode == 0


@pytest.mark.parametrize("kind", ["dataset", "expert", "synthetic", "evaluation"])
@pytest.mark.parametrize("damage", ["truncated", "flipped", "emptied"])
def test_a_damaged_artifact_is_named_and_made_again_once_it_is_deleted(
    tmp_path, undisturbed, kind, damage
):
    shutil.copytree(undisturbed / "store", tmp_path / "store")
    path = min((tmp_path / "store" / kind).glob("*.h5"))
    content = bytearray(path.read_bytes())
    with h5py.File(path, "r") as file:
        place = next(file[key].id.get_offset() for key in file if file[key].id.get_offset())
    match damage:
        case "truncated":
            content = content[: len(content) // 2]
        case "flipped":
            content[place] ^= 4
        case _:
            content = bytearray()
    path.write_bytes(content)

    with pytest.raises(StoreError) as caught:
        in_store(tmp_path)
    assert path.name in str(caught.value)
    assert "delete that file" in caught.value.hint
    path.unlink()
    in_store(tmp_path)
    same_bytes(tmp_path, undisturbed)


def test_a_vanished_dataset_is_told_in_words(tmp_path):
    from PIL import Image

    for part in ("train", "test"):
        for name in ("a", "b"):
            own = tmp_path / "data" / "mine" / part / name
            own.mkdir(parents=True)
            for number in range(3):
                pixels = np.full((8, 8), 40 * number + 50 * (name == "b"), dtype=np.uint8)
                Image.fromarray(pixels).save(own / f"{number}.png")
    loaded = api.load(TESTS / "smoke.toml", ["dataset.name=folder", "dataset.root=mine"])
    api.compile(loaded, data=tmp_path / "data", store=tmp_path / "store")
    shutil.rmtree(tmp_path / "data" / "mine")
    with pytest.raises(DataError, match="mine"):
        api.compile(loaded, data=tmp_path / "data", store=tmp_path / "store")


def test_a_clock_that_jumps_changes_no_number(tmp_path, undisturbed, monkeypatch):
    draw, real = random.Random(0), time.time
    monkeypatch.setattr(time, "time", lambda: real() + draw.uniform(-1e9, 1e9))
    in_store(tmp_path)
    monkeypatch.undo()
    same_bytes(tmp_path, undisturbed)


def test_a_store_that_is_deleted_under_a_run_is_told_in_words(tmp_path, undisturbed):
    gone = []

    def delete(progress) -> None:
        if progress.step == "distill" and not gone:
            gone.append(progress)
            shutil.rmtree(tmp_path / "store")

    with pytest.raises((StoreError, OSError)):
        in_store(tmp_path, control=Control(report=delete))
    assert gone
    shutil.rmtree(tmp_path / "runs")
    in_store(tmp_path)
    same_bytes(tmp_path, undisturbed)


def test_what_a_killed_writer_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path):
    (tmp_path / "expert").mkdir()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = tmp_path / "expert" / f".x.h5.{HOST}-{gone.pid}-00000000"
    living = tmp_path / "expert" / f".x.h5.{HOST}-{os.getppid()}-00000000"
    elsewhere = tmp_path / "expert" / f".x.h5.{'0' * 8}-{gone.pid}-00000000"
    for path in (left, living, elsewhere):
        path.write_text("half")
    with whole(tmp_path / "expert" / "x.h5") as beside:
        beside.write_text("whole")
    assert not left.exists()
    assert living.exists()
    assert elsewhere.exists()
    os.utime(elsewhere, (0, 0))
    assert remove_if_left(elsewhere)
    assert sorted(Store(tmp_path).leftovers()) == [living]


MUTATED = """
import random, sys
from pathlib import Path
from ddspec.dsl.diagnostics import StoreError
from ddspec.engine.store.store import Store, checksum

source, folder, first, last = Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:])
content = source.read_bytes()
target = folder / source.parent.name / source.name
target.parent.mkdir(parents=True, exist_ok=True)
with Store(source.parents[1]).open(source.parent.name, source.stem) as file:
    good = {key: checksum(file[key][()]) for key in file}
for number in range(first, last):
    draw = random.Random(number)
    changed = bytearray(content)
    for _ in range(draw.choice([1, 1, 1, 8, 64])):
        place = draw.randrange(len(changed))
        match draw.randrange(3):
            case 0:
                changed[place] ^= 1 << draw.randrange(8)
            case 1:
                changed[place] = draw.randrange(256)
            case _:
                changed[place : place + 8] = draw.randbytes(8)
    if draw.random() < 0.1:
        changed = changed[: draw.randrange(len(changed))]
    target.write_bytes(changed)
    said = "same"
    try:
        with Store(folder).open(source.parent.name, source.stem) as file:
            if {key: checksum(file[key][()]) for key in file} != good:
                said = "wrong"
    except StoreError:
        said = "refused"
    print(number, said, flush=True)
"""


@pytest.mark.slow
def test_a_thousand_damaged_artifacts_are_refused_or_read_as_they_were(undisturbed, tmp_path):
    """No wrong number, no other fault than one in words, none that takes two seconds."""
    said = {"same": 0, "refused": 0}
    paths = [min((undisturbed / "store" / kind).glob("*.h5")) for kind in ("expert", "synthetic")]
    for path in paths:
        command = [sys.executable, "-c", MUTATED, path, tmp_path, "0", "500"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            began = time.monotonic()
            for number, line in enumerate(process.stdout):
                # The first has the imports to wait for.
                assert number == 0 or time.monotonic() - began < 2
                began = time.monotonic()
                said[line.split()[1]] += 1
        assert process.returncode == 0
    assert sum(said.values()) == 1000
    assert said["refused"] > 300
