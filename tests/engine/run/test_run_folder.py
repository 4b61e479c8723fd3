"""The files of a run folder, against the artifacts that they show."""

import hashlib

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from ddspec.dsl.plan.steps import member_preimage
from ddspec.engine.run.run_folder import (
    MOST_SHEETS,
    evenly_spaced_iterations,
    file_checksums,
    write_images,
)
from ddspec.engine.store.provenance import Provenance


@pytest.fixture
def stored(context, plan):
    """A plan whose synthetic sets of all kept iterations are in the store; ipc is 2."""
    made = plan("synthetic.ipc=2", "matching.iterations=40", "evaluation.every=10")
    step = made.step("distill")
    generator = torch.Generator().manual_seed(0)
    images = {}
    for member in step.members:
        images[member.number] = torch.randn(20, 1, 8, 8, generator=generator).numpy()
        arrays = {
            "images": images[member.number],
            "labels": np.repeat(np.arange(10), 2),
            "student_lr": np.array(0.01 + member.number, dtype=np.float32),
        }
        context.store.put(
            "synthetic", member_preimage(step.preimage, member.number), arrays, Provenance()
        )
    return made, images


def test_a_sheet_has_a_row_per_class_and_a_column_per_image(context, stored, tmp_path, results_at):
    made, images = stored
    facts = made.dataset.facts
    for sheet in write_images(made, results_at(10), context.store, tmp_path):
        assert (sheet.rows, sheet.columns, sheet.image_height, sheet.image_width) == (10, 2, 8, 8)
        pixels = np.array(Image.open(tmp_path / "images" / sheet.file))
        assert pixels.shape == (80, 16)
        for number, image in enumerate(images[sheet.iteration]):
            row, column = divmod(number, 2)
            shown = pixels[8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
            expected = np.clip(image[0] * facts.std[0] + facts.mean[0], 0, 1) * 255
            assert np.abs(shown - expected).max() <= 0.5 + 1e-3


@pytest.mark.parametrize("iteration", [0, 10, 40])
def test_synthetic_file_is_the_set_of_the_result(context, stored, tmp_path, iteration, results_at):
    made, images = stored
    sheets = write_images(made, results_at(iteration), context.store, tmp_path)
    with h5py.File(tmp_path / "synthetic.h5") as file:
        assert file["images"][()].tobytes() == images[iteration].tobytes()
        assert file["student_lr"][()] == np.float32(0.01 + iteration)
        assert file.attrs["iteration"] == iteration
    assert {0, iteration, 40} <= {sheet.iteration for sheet in sheets}
    files = sorted(path.name for path in (tmp_path / "images").iterdir())
    assert files == sorted(sheet.file for sheet in sheets)


def test_without_an_accuracy_the_last_set_is_written(context, stored, tmp_path, results_at):
    write_images(stored[0], results_at(), context.store, tmp_path)
    with h5py.File(tmp_path / "synthetic.h5") as file:
        assert file.attrs["iteration"] == 40


def test_without_a_set_nothing_is_written(context, plan, tmp_path, results_at):
    assert write_images(plan(), results_at(), context.store, tmp_path / "run") == ()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("count", [0, 1, 2, 5, 11, 12, 400])
@pytest.mark.parametrize("ipc", [1, 10, 50, 130])
@pytest.mark.parametrize("most_pixels", [100_000, 12_000_000])
def test_sheets_stay_few_and_small_and_include_both_ends(
    count, ipc, most_pixels, plan, monkeypatch
):
    monkeypatch.setattr("ddspec.engine.run.run_folder.PIXELS_OF_SHEETS", most_pixels)
    made = plan(f"synthetic.ipc={ipc}")
    iterations = list(range(0, 10 * count, 10))
    spaced = evenly_spaced_iterations(made, iterations)
    assert len(spaced) <= min(MOST_SHEETS, count)
    assert len(spaced) * 640 * ipc <= most_pixels
    assert spaced == sorted(set(spaced)) and set(spaced) <= set(iterations)
    if spaced:
        assert (spaced[0], spaced[-1]) == (iterations[0], iterations[-1])
        gaps = np.diff(spaced)
        assert gaps.max() - gaps.min() <= 10


def test_checksums_are_those_of_the_files_that_exist(context, stored, tmp_path, results_at):
    sheets = write_images(stored[0], results_at(), context.store, tmp_path)
    (tmp_path / "spec.toml").write_text("ddspec = 1\n")
    (tmp_path / "notes.txt").write_text("a user's file")
    sums = file_checksums(tmp_path, sheets)
    assert set(sums) == {
        "spec.toml",
        "synthetic.h5",
        *(f"images/{sheet.file}" for sheet in sheets),
    }
    for name, digest in sums.items():
        assert digest == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
