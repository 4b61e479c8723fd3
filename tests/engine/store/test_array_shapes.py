"""Artifacts with other arrays than a plan needs are refused in words, whatever their checksums."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

import ddspec
from ddspec.dsl.diagnostics import StoreError
from ddspec.engine.store.array_shapes import check_plan
from ddspec.engine.store.hdf5_file import checksum, set_attributes
from ddspec.engine.store.store import Store
from tests.in_slow_run import first_by_default

SMOKE = Path(__file__).parents[2] / "smoke.toml"
SHORT = ["matching.iterations=2", "evaluation.every=2", "evaluation.epochs=1"]
KINDS = ("dataset", "whitening", "expert", "synthetic", "evaluation", "trajectory", "path")


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Stores of three finished runs, and their compiled specs."""
    folder, made = tmp_path_factory.mktemp("runs"), {}
    for name, options in (
        ("sgd", ["dataset.zca=true", "synthetic.labels={name='learned', lr=0.5}"]),
        ("convex", ["trajectory=convex", "dataset.validation=0.1"]),
        ("bezier", ["trajectory=bezier", "experts.count=1"]),
    ):
        store = folder / name
        compiled = ddspec.compile(ddspec.load(SMOKE, [*options, *SHORT]), store=store)
        ddspec.run(compiled, runs=folder / f"runs-{name}")
        made[name] = compiled
    return made


def replaced(path: Path, name: str, array: np.ndarray) -> None:
    """Replace an array and its checksum."""
    with h5py.File(path, "r+", libver=("v110", "v110")) as file:
        del file[name]
        set_attributes(file.create_dataset(name, data=array), sha256=checksum(array))


@pytest.mark.slow
def test_artifacts_of_honest_runs_fit(stores):
    for compiled in stores.values():
        check_plan(compiled.plan, Store(compiled.store))


@pytest.mark.slow
def test_every_array_of_another_shape_or_type_is_named(stores, tmp_path):
    """No array of any artifact of a plan may end a run in an error of torch or NumPy."""
    checked = set()
    for name, compiled in stores.items():
        copy = tmp_path / name
        shutil.copytree(compiled.store, copy)
        for kind in KINDS:
            for path in sorted((copy / kind).glob("*.h5"))[:1]:
                with h5py.File(path) as file:
                    arrays = {key: file[key][()] for key in file}
                for key, array in arrays.items():
                    if key.startswith(("series_", "cluster_")) or key in FREE:
                        continue
                    before = path.read_bytes()
                    for wrong in (np.asarray(array)[None], np.asarray(array).astype(np.complex128)):
                        replaced(path, key, np.asarray(wrong))
                        with pytest.raises(StoreError, match=f"{path.name} .*{key}"):
                            check_plan(compiled.plan, Store(copy))
                        path.write_bytes(before)
                    checked.add((kind, key))
    assert {kind for kind, _ in checked} == set(KINDS)


FREE = ("projection", "chosen", "steps")
"""Arrays that no stage computes with, or that only some specs have."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "array", "words"),
    first_by_default(
        [
            ("synthetic", np.zeros((10, 1, 9, 9), np.float32), "array images of shape 10x1x9x9"),
            ("expert", np.zeros((3, 7), np.float32), "array theta of shape 3x7 and type float32"),
            ("dataset", np.zeros((3, 3, 8, 8), np.uint8), "array train_images of shape 3x3x8x8"),
        ]
    ),
)
def test_run_and_verify_say_so_in_words(cli, stores, tmp_path, kind, array, words):
    compiled = stores["sgd"]
    copy = tmp_path / "store"
    shutil.copytree(compiled.store, copy)
    key = {"expert": "theta", "synthetic": "images", "dataset": "train_images"}[kind]
    for path in (copy / kind).glob("*.h5"):
        replaced(path, key, array)
    options = [
        *("--set", "dataset.zca=true"),
        *("--set", "synthetic.labels={name='learned', lr=0.5}"),
        *("--set", "evaluation.repeats=3"),
        *(part for setting in SHORT for part in ("--set", setting)),
    ]
    answer = cli("run", SMOKE, "--store", copy, *options)
    assert answer.returncode == 5
    assert words in answer.stderr
    assert "move that file out of the store" in answer.stderr


def test_a_task_refuses_what_it_needs(cli, stores, tmp_path):
    compiled = stores["sgd"]
    copy = tmp_path / "store"
    shutil.copytree(compiled.store, copy)
    for path in (copy / "synthetic").glob("*.h5"):
        replaced(path, "images", np.zeros((10, 1, 9, 9), np.float32))
    options = [
        *("--set", "dataset.zca=true"),
        *("--set", "synthetic.labels={name='learned', lr=0.5}"),
        *("--set", "evaluation.repeats=3"),
        *(part for setting in SHORT for part in ("--set", setting)),
    ]
    planned = cli("plan", SMOKE, "--store", copy, *options, "--tasks", "--json")
    tasks = [line for line in planned.stdout.splitlines() if '"evaluate-convnet"' in line]
    assert json.loads(tasks[0])["step"] == "evaluate-convnet"
    answer = cli("work", "--task", tasks[0], "--store", copy)
    assert answer.returncode == 5
    assert "array images of shape 10x1x9x9" in answer.stderr
