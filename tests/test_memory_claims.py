"""Every kind of input names what needs how much memory before it is taken."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

import ddspec
from ddspec.dsl import available_memory
from ddspec.dsl.diagnostics import MachineError
from ddspec.engine.images.decode import resize
from ddspec.engine.images.real_data import fit_whitening_once, load_data
from ddspec.engine.images.sources.find_images import find_source
from ddspec.engine.images.sources.ingest import value_counts
from ddspec.engine.store import hdf5_file
from ddspec.engine.store.artifacts import read_whitening
from ddspec.engine.store.hdf5_file import checksum, hdf5_to_write, stored_checksum, write_arrays
from ddspec.engine.store.store import Store
from tests.engine.images.samples import FOLDER, members, write_folder

SMOKE = Path(__file__).parent / "smoke.toml"


@pytest.fixture
def little(monkeypatch):
    """A function that leaves so many bytes of memory."""

    def leave(size: int) -> None:
        monkeypatch.setattr(available_memory, "available_memory", lambda: size)

    return leave


def test_resolution_too_large_for_the_machine_names_its_key(cli, little):
    little(10**9)
    answer = cli("plan", SMOKE, "--set", "dataset.resolution=1000", "--store", "store")
    assert answer.returncode == 5
    assert "dataset.resolution = 1000 needs" in answer.stderr


def test_image_files_are_named_before_they_are_decoded(tmp_path, little):
    write_folder(tmp_path / "pets", members(train=4))
    source = find_source(FOLDER, tmp_path, fetch=False)
    little(100)
    with pytest.raises(MachineError, match=r"reading \d+ images of \d+x\d+ pixels .*png") as error:
        source.read()
    assert "dataset.resolution" in error.value.hint


def test_thin_image_is_refused_before_it_is_widened(little):
    little(10**9)
    thin = Image.new("L", (1, 400_000))
    with pytest.raises(MachineError, match="resizing an image of 1x400000 pixels"):
        resize(thin, 64, "crop")
    assert resize(thin, 64, "stretch").size == (64, 64)


def test_images_and_whitening_are_claimed_when_a_run_begins(tmp_path, little):
    store = Store(tmp_path)
    compiled = ddspec.compile(ddspec.load(SMOKE, ["dataset.zca=true"]), store=tmp_path)
    step = compiled.plan.dataset
    data = load_data(step, store, torch.device("cpu"))
    little(1000)
    with pytest.raises(MachineError, match="the train images of digits") as error:
        load_data(step, store, data.train_images.device)
    assert "dataset.images_per_class" in error.value.hint
    with pytest.raises(MachineError, match=r"the whitening .*h5 needs"):
        read_whitening(store, step)
    store.remove("whitening", next((tmp_path / "whitening").iterdir()).stem)
    with pytest.raises(MachineError, match="fitting a whitening to images of 8x8 pixels") as error:
        fit_whitening_once(step, data.train_images, 16, store)
    assert "dataset.zca = false" in error.value.hint


def test_synthetic_file_is_claimed_before_it_is_read(tmp_path, little):
    loaded = ddspec.load(SMOKE, ["matching.iterations=2", "evaluation.epochs=1"])
    run = ddspec.run(ddspec.compile(loaded, store=tmp_path / "store"), runs=tmp_path / "runs")
    little(1000)
    with pytest.raises(MachineError, match=r"reading synthetic.h5 needs"):
        run.synthetic()


def test_stored_arrays_are_checked_in_parts(tmp_path, monkeypatch, little):
    monkeypatch.setattr(hdf5_file, "BYTES_AT_ONCE", 1000)
    arrays = {
        "theta": np.arange(5000, dtype=np.float32).reshape(50, 100),
        "wide": np.arange(1000, dtype=np.float64).reshape(1, 1000),
        "number": np.array(3.0),
        "empty": np.zeros((0, 7)),
    }
    (tmp_path / "a.h5").touch()
    with hdf5_to_write(tmp_path / "a.h5", 1000) as file:
        write_arrays(file, arrays)
    with h5py.File(tmp_path / "a.h5") as file:
        for name, array in arrays.items():
            assert stored_checksum(file[name]) == checksum(array)
        little(1000)
        with pytest.raises(MachineError, match=r"checking /wide of a.h5 needs"):
            stored_checksum(file["wide"])


def test_values_are_counted_in_parts(monkeypatch):
    monkeypatch.setattr("ddspec.engine.images.sources.ingest.NUMBERS_AT_ONCE", 100)
    pixels = np.random.default_rng(0).integers(0, 256, (31, 7, 5)).astype(np.uint8)
    assert np.array_equal(value_counts(pixels), np.bincount(pixels.ravel(), minlength=256))
