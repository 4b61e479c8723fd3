"""`ddspec new --images`: the spec fits the images, gives reasons, and runs without diverging."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddspec import api
from ddspec.dsl.diagnostics import DataError
from ddspec.dsl.parsing.loader import LoadedSpec, parse_spec
from ddspec.image_specs import batch_size, spec_for_images


def picture(folder: Path, number: int, label: int, side: tuple[int, int]) -> None:
    """Write a noisy picture with stripes that tell its class."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng([number, label])
    rows, columns = np.mgrid[: side[0], : side[1]]
    stripes = 128 + 80 * np.sin((rows if label else columns) / 2)
    noisy = stripes[..., None] + generator.normal(0, 30, (*side, 3))
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.png")


def spec_of(folder: Path, tmp_path: Path) -> LoadedSpec:
    """Return the spec for a folder, after compiling it with the images."""
    loaded = parse_spec(spec_for_images(folder), "spec.toml")
    api.compile(loaded, data=folder.parent, store=tmp_path / "store")
    return loaded


def test_spec_for_split_images_of_one_size_keeps_both(tmp_path: Path):
    for split, count in (("train", 60), ("test", 3)):
        for label in (0, 1):
            for number in range(count):
                picture(tmp_path / "mine" / split / f"c{label}", number, label, (16, 16))
    spec = spec_of(tmp_path / "mine", tmp_path).spec
    assert (spec.dataset.split, spec.dataset.resolution) == (None, None)
    assert (spec.network.depth, spec.synthetic.ipc, spec.experts.batch_size) == (2, 10, 8)


def test_spec_for_unsplit_images_of_many_sizes_draws_and_resizes(tmp_path: Path):
    for label in (0, 1):
        for number in range(10):
            picture(tmp_path / "my pets" / f"c{label}", number, label, (40 + number, 70))
    text = spec_for_images(tmp_path / "my pets")
    spec = spec_of(tmp_path / "my pets", tmp_path).spec
    assert (spec.name, spec.dataset.split, spec.dataset.resolution) == ("my_pets_ipc1", 0.2, 32)
    assert "Read: 16 training and 4 test images of 2 classes" in text
    assert "# the smallest class has 8 training images" in text


def test_folder_without_images_is_refused(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    for name in ("empty", "none"):
        with pytest.raises(DataError, match=name):
            spec_for_images(tmp_path / name)


@pytest.mark.parametrize(
    ("images", "batch"), [(2, 2), (16, 2), (64, 8), (1000, 64), (2048, 256), (10**6, 256)]
)
def test_batches_leave_several_in_an_epoch(images: int, batch: int):
    assert batch_size(images) == batch


def test_new_writes_the_spec_and_says_how_to_begin(cli, tmp_path: Path):
    for label in (0, 1):
        for number in range(10):
            picture(tmp_path / "mine" / f"c{label}", number, label, (8, 8))
    answer = cli("new", "--images", "mine")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == "mine.toml\n"
    assert "ddspec run mine.toml --preview --data ." in answer.stderr
    assert cli("check", "mine.toml").returncode == 0
    again = cli("new", "--images", "mine")
    assert again.returncode == 2 and "already exists" in again.stderr
    both = cli("new", "digits_ipc1", "--images", "mine")
    assert both.returncode == 2 and "give one of them" in both.stderr


@pytest.mark.slow
def test_spec_for_images_learns_without_diverging(tmp_path: Path):
    for label in (0, 1):
        for number in range(40):
            picture(tmp_path / "mine" / f"c{label}", number, label, (16, 16))
    text = spec_for_images(tmp_path / "mine")
    options = ("matching.iterations=100", "evaluation.every=100", "evaluation.epochs=100")
    loaded = parse_spec(text, "spec.toml", options)
    compiled = api.compile(loaded, data=tmp_path, store=tmp_path / "store")
    record = api.run(compiled, runs=tmp_path / "runs").record
    assert record.outcome.status == "done"
    assert record.warnings == ()
    assert record.results.accuracy.mean > 90
    assert not any(record.series.rate_held)


@pytest.mark.parametrize("name", ["mri(2)", "x" * 201])
def test_folder_that_no_spec_can_name_is_refused_before_anything_is_written(name, cli, tmp_path):
    picture(tmp_path / name / "train" / "c0", 0, 0, (8, 8))
    answer = cli("new", "--images", name)
    assert answer.returncode == 3
    assert "dataset.root" in answer.stdout + answer.stderr
    assert not list(tmp_path.glob("*.toml"))


def test_command_to_begin_with_is_quoted_for_a_shell(cli, tmp_path):
    for label in (0, 1):
        for number in range(10):
            picture(tmp_path / "my pets" / f"c{label}", number, label, (8, 8))
    assert "ddspec run 'my pets.toml' --preview" in cli("new", "--images", "my pets").stderr
