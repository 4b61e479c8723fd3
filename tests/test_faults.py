"""After kills, full disks and damaged files, the next run gives the same bytes."""

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
from ddspec.dsl.atomic_write import LEFTOVER, PROCESS_SPACE, atomic_write, remove_if_abandoned
from ddspec.dsl.diagnostics import DataError, MachineError, StoreError
from ddspec.engine.control import Control
from ddspec.engine.store import store as store_module
from ddspec.engine.store.store import Store
from tests.in_slow_run import first_by_default

TESTS = Path(__file__).parent
KILLING = TESTS / "killing.py"


def in_store(folder: Path, *overrides: str, control: Control | None = None) -> api.Run:
    """Run the smoke spec with its own store and runs folder."""
    compiled = api.compile(api.load(TESTS / "smoke.toml", overrides), store=folder / "store")
    return api.run(compiled, runs=folder / "runs", control=control)


@pytest.fixture
def undisturbed(smoke_run: Path) -> Path:
    return smoke_run.parent.parent


def same_bytes(folder: Path, undisturbed: Path) -> None:
    """Check a run against the undisturbed one: synthetic set, numbers, no leftovers."""
    (run,), (other,) = ((root / "runs").iterdir() for root in (folder, undisturbed))
    assert (run / "synthetic.h5").read_bytes() == (other / "synthetic.h5").read_bytes()
    records = [json.loads((path / "record.json").read_text()) for path in (run, other)]
    for part in ("results", "series", "experts", "evaluations", "outcome"):
        assert records[0][part] == records[1][part]
    assert not [path for path in folder.rglob(".*") if LEFTOVER.fullmatch(path.name)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "variant"), list(enumerate(("sgd", "sgd again", "convex", "ingredients"), start=1))
)
def test_run_after_a_kill_at_any_of_a_hundred_moments_ends_with_the_same_bytes(
    tmp_path, smoke, ingredients, seed, variant
):
    trials = 25
    overrides = {"convex": ("trajectory=convex",), "ingredients": ingredients}.get(variant, ())
    command = [sys.executable, KILLING, smoke, tmp_path, str(seed), str(trials), *overrides]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    reports = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(reports) == trials
    for report in reports:
        assert report["succeeded"], report
        assert report["differs"] == [], report
        assert report["half_written"] == [], report
    assert len({report["step"] for report in reports}) >= 3


def test_full_disk_is_reported_and_the_next_run_continues(tmp_path, undisturbed):
    process = os.fork()
    if process == 0:
        code = 3
        try:
            # No file may grow beyond this size, as on a full disk.
            resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            in_store(tmp_path)
        except (StoreError, OSError) as error:
            (tmp_path / "message").write_text(f"{error}")
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(process, 0)[1] == 0
    assert "could not be written" in (tmp_path / "message").read_text()
    in_store(tmp_path)
    same_bytes(tmp_path, undisturbed)


@pytest.mark.slow
def test_read_only_store_is_reported(cli, smoke, tmp_path, undisturbed):
    store = tmp_path / "store"
    shutil.copytree(undisturbed / "store", store)
    read_only = OSError(errno.EROFS, "Read-only file system", str(store))
    write, os_open = store_module.atomic_write, os.open

    def write_outside_the_store(path: Path) -> object:
        if path.is_relative_to(store):
            raise read_only
        return write(path)

    def open_outside_the_store(path, *arguments, **options) -> int:
        if str(path).startswith(str(store)):
            raise read_only
        return os_open(path, *arguments, **options)

    longer = (smoke, "--set", "matching.iterations=14", "--store", store)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(store_module, "atomic_write", write_outside_the_store)
        patched.setattr("ddspec.dsl.atomic_write.atomic_write", write_outside_the_store)
        patched.setattr("ddspec.engine.store.locks.os.open", open_outside_the_store)
        refused = cli("run", *longer)
        nothing_to_do = cli("run", smoke, "--store", store)
    assert refused.returncode == 5
    assert "Read-only file system" in refused.stderr
    assert "the same command continues" in refused.stderr
    assert nothing_to_do.returncode == 0, nothing_to_do.stderr
    assert cli("run", *longer).returncode == 0


def test_read_only_store_of_another_machine_can_be_planned_with(cli, smoke, tmp_path, undisturbed):
    """Without a note of this machine's speed, which cannot be kept there."""
    store = tmp_path / "store"
    shutil.copytree(undisturbed / "store", store)
    for note in (store / "notes").glob("rates-*"):
        note.unlink()
    read_only = OSError(errno.EROFS, "Read-only file system", str(store))

    def refuse(path: Path) -> object:
        raise read_only

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(store_module, "atomic_write", refuse)
        patched.setattr("ddspec.dsl.atomic_write.atomic_write", refuse)
        planned = cli("plan", smoke, "--store", store)
    assert planned.returncode == 0, planned.stderr
    assert "nothing to do" in planned.stdout
    assert not list((store / "notes").glob("rates-*"))


@pytest.mark.parametrize("kind", first_by_default(["expert", "dataset", "synthetic", "evaluation"]))
@pytest.mark.parametrize(
    "damage",
    ["flipped", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("truncated", "emptied"))],
)
def test_damaged_artifact_is_named_and_made_again_once_it_is_deleted(
    tmp_path, undisturbed, kind, damage
):
    shutil.copytree(undisturbed / "store", tmp_path / "store")
    path = min((tmp_path / "store" / kind).glob("*.h5"))
    content = bytearray(path.read_bytes())
    with h5py.File(path, "r") as file:
        offset = next(file[key].id.get_offset() for key in file if file[key].id.get_offset())
    match damage:
        case "truncated":
            content = content[: len(content) // 2]
        case "flipped":
            content[offset] ^= 4
        case _:
            content = bytearray()
    path.write_bytes(content)

    with pytest.raises(StoreError) as caught:
        in_store(tmp_path)
    assert path.name in str(caught.value)
    assert "move that file" in caught.value.hint
    path.unlink()
    in_store(tmp_path)
    same_bytes(tmp_path, undisturbed)


def test_vanished_dataset_is_reported(tmp_path):
    from PIL import Image

    for part in ("train", "test"):
        for name in ("a", "b"):
            class_folder = tmp_path / "data" / "mine" / part / name
            class_folder.mkdir(parents=True)
            for number in range(3):
                pixels = np.full((8, 8), 40 * number + 50 * (name == "b"), dtype=np.uint8)
                Image.fromarray(pixels).save(class_folder / f"{number}.png")
    loaded = api.load(TESTS / "smoke.toml", ["dataset.name=folder", "dataset.root=mine"])
    api.compile(loaded, data=tmp_path / "data", store=tmp_path / "store")
    shutil.rmtree(tmp_path / "data" / "mine")
    with pytest.raises(DataError, match="mine"):
        api.compile(loaded, data=tmp_path / "data", store=tmp_path / "store")


@pytest.mark.slow
def test_jumping_clock_changes_no_number(tmp_path, undisturbed, monkeypatch):
    draw, real = random.Random(0), time.time
    monkeypatch.setattr(time, "time", lambda: real() + draw.uniform(-1e9, 1e9))
    in_store(tmp_path)
    monkeypatch.undo()
    same_bytes(tmp_path, undisturbed)


@pytest.mark.slow
def test_store_deleted_during_a_run_is_reported(tmp_path, undisturbed):
    deletions = []

    def delete(progress) -> None:
        if progress.step == "distill" and not deletions:
            deletions.append(progress)
            shutil.rmtree(tmp_path / "store")

    # Either a task misses what it reads, or all tasks end and the run misses what they made.
    with pytest.raises((StoreError, OSError, MachineError)):
        in_store(tmp_path, control=Control(report=delete))
    assert deletions
    shutil.rmtree(tmp_path / "runs")
    in_store(tmp_path)
    same_bytes(tmp_path, undisturbed)


def test_leftovers_of_killed_writers_are_removed_and_those_of_living_ones_kept(tmp_path):
    (tmp_path / "expert").mkdir()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    leftover = tmp_path / "expert" / f".x.h5.{PROCESS_SPACE}-{ended.pid}-00000000"
    living = tmp_path / "expert" / f".x.h5.{PROCESS_SPACE}-{os.getppid()}-00000000"
    other_host = tmp_path / "expert" / f".x.h5.{'0' * 8}-{ended.pid}-00000000"
    for path in (leftover, living, other_host):
        path.write_text("half")
    with atomic_write(tmp_path / "expert" / "x.h5") as temporary:
        temporary.write_text("complete")
    assert not leftover.exists()
    assert living.exists()
    assert other_host.exists()
    os.utime(other_host, (0, 0))
    assert remove_if_abandoned(other_host)
    assert sorted(Store(tmp_path).leftovers()) == [living]


MUTATED = """
import random, sys
from pathlib import Path
from ddspec.dsl.diagnostics import StoreError
from ddspec.engine.store.hdf5_file import checksum
from ddspec.engine.store.store import Store

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
        offset = draw.randrange(len(changed))
        match draw.randrange(3):
            case 0:
                changed[offset] ^= 1 << draw.randrange(8)
            case 1:
                changed[offset] = draw.randrange(256)
            case _:
                changed[offset : offset + 8] = draw.randbytes(8)
    if draw.random() < 0.1:
        changed = changed[: draw.randrange(len(changed))]
    target.write_bytes(changed)
    outcome = "same"
    try:
        with Store(folder).open(source.parent.name, source.stem) as file:
            if {key: checksum(file[key][()]) for key in file} != good:
                outcome = "wrong"
    except StoreError:
        outcome = "refused"
    print(number, outcome, flush=True)
"""


@pytest.mark.slow
def test_thousand_damaged_artifacts_are_refused_or_read_correctly(undisturbed, tmp_path):
    """Nothing is read wrongly, and every refusal is a StoreError."""
    outcomes = {"same": 0, "refused": 0}
    paths = [min((undisturbed / "store" / kind).glob("*.h5")) for kind in ("expert", "synthetic")]
    for path in paths:
        command = [sys.executable, "-c", MUTATED, path, tmp_path, "0", "500"]
        # HDF5 may loop forever on a damaged file: that is what the timeout would catch.
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
        assert done.returncode == 0, done.stderr
        for line in done.stdout.splitlines():
            outcomes[line.split()[1]] += 1
    assert sum(outcomes.values()) == 1000
    assert outcomes["refused"] > 300
