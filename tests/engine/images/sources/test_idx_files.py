"""MNIST's files are read whole, or refused with the name of the file and what is wrong."""

import gzip
import os

import numpy as np
import pytest

from ddspec.dsl.diagnostics import DataError
from ddspec.dsl.spec.dataset import Dataset
from ddspec.engine.images.sources.find_images import find_source
from tests.engine.images.samples import idx, write_folder

LABELS = {"train": np.tile(np.arange(10), 2), "t10k": np.arange(10)}
TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def mnist_files():
    """Return a small MNIST as {file name: bytes}."""
    random, files = np.random.default_rng(0), {}
    for split, labels in LABELS.items():
        images = random.integers(0, 256, (len(labels), 28, 28))
        files[f"{split}-images-idx3-ubyte"] = idx(images)
        files[f"{split}-labels-idx1-ubyte"] = idx(labels)
    return files


def source_of(folder, **options):
    return find_source(Dataset(name="mnist", **options), folder, fetch=False)


def test_mnist_is_read_from_its_original_files(tmp_path):
    files = mnist_files()
    write_folder(tmp_path / "MNIST" / "raw", files)
    raw = source_of(tmp_path).read()
    pixels = np.frombuffer(files[TRAIN_IMAGES][16:], np.uint8).reshape(20, 28, 28)
    assert raw.train.images.shape == (20, 1, 28, 28)
    assert np.array_equal(raw.train.images[0, 0], pixels[0])
    assert np.array_equal(raw.train.images[1, 0], pixels[10])
    assert source_of(tmp_path, resolution=32).read().train.images.shape == (20, 1, 32, 32)


def test_compressed_files_and_other_spellings_are_read_in_place(tmp_path):
    files = mnist_files()
    compressed = {f"{name}.gz": gzip.compress(content) for name, content in files.items()}
    dotted = {name.replace("-idx", ".idx"): content for name, content in files.items()}
    write_folder(tmp_path / "a" / "MNIST" / "raw", files)
    write_folder(tmp_path / "b" / "MNIST" / "raw", compressed)
    write_folder(tmp_path / "c" / "mnist", dotted)
    sources = [source_of(tmp_path / name) for name in "abc"]
    assert len({source.read().fingerprint for source in sources}) == 1
    assert [source.label for source in sources] == ["MNIST/raw", "MNIST/raw", "mnist"]


WRONG_FILES = {
    "label out of range": (TRAIN_LABELS, idx(np.full(20, 200)), "labels from 200 to 200"),
    "half as many labels": (TRAIN_LABELS, idx(np.arange(10)), "20 images, .* 10 labels"),
    "no labels": (TRAIN_LABELS, idx(np.arange(0)), "20 images, .* 0 labels"),
    "other magic": (TRAIN_IMAGES, b"\x89PNG" + bytes(100), "not a file in MNIST's format IDX"),
    "text": (TRAIN_IMAGES, b"<!doctype html>", "not a file in MNIST's format IDX"),
    "empty": (TRAIN_IMAGES, b"", "not a file in MNIST's format IDX"),
    "floats": (TRAIN_IMAGES, idx(np.zeros((20, 28, 28)), 13), "floats with 3 axes"),
    "four axes": (TRAIN_IMAGES, idx(np.zeros((20, 1, 28, 28))), "bytes with 4 axes"),
    "other size": (TRAIN_IMAGES, idx(np.zeros((20, 32, 32))), "images of 32x32 pixels"),
    "cut off": (TRAIN_IMAGES, idx(np.zeros((20, 28, 28)))[:-1], "states 15,680 bytes"),
    "too long": (TRAIN_IMAGES, idx(np.zeros((20, 28, 28))) + b"x", "but holds more"),
    "huge": (TRAIN_IMAGES, b"\0\0\x08\x03" + b"\xff" * 12, "at most 1,000,000,000"),
}


@pytest.mark.parametrize("case", WRONG_FILES)
def test_odd_file_is_refused_in_words(tmp_path, case):
    name, content, words = WRONG_FILES[case]
    for folder, files in (
        ("plain", {name: content}),
        ("gz", {f"{name}.gz": gzip.compress(content)}),
    ):
        others = {k: v for k, v in mnist_files().items() if k != name}
        write_folder(tmp_path / folder / "MNIST" / "raw", others | files)
        with pytest.raises(DataError, match=words) as caught:
            source_of(tmp_path / folder).read()
        assert name in str(caught.value)


def test_damaged_gzip_is_refused_in_words(tmp_path):
    whole = gzip.compress(mnist_files()[TRAIN_IMAGES])
    middle = len(whole) // 2
    wrong = whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :]
    for number, content in enumerate((b"", b"PK", whole[:middle], wrong)):
        files = {k: v for k, v in mnist_files().items() if k != TRAIN_IMAGES}
        raw = tmp_path / str(number) / "MNIST" / "raw"
        write_folder(raw, files | {f"{TRAIN_IMAGES}.gz": content})
        with pytest.raises(DataError, match=f"{TRAIN_IMAGES}.gz is"):
            source_of(tmp_path / str(number)).read()


def test_missing_file_pipe_device_and_folder_are_refused_in_words(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    write_folder(raw, mnist_files())
    (raw / TRAIN_LABELS).unlink()
    with pytest.raises(DataError, match=f"has no file {TRAIN_LABELS}"):
        source_of(tmp_path).read()
    os.mkfifo(raw / TRAIN_LABELS)
    with pytest.raises(DataError, match="it is a pipe, not a regular file"):
        source_of(tmp_path).read()
    (raw / TRAIN_LABELS).unlink()
    (raw / TRAIN_LABELS).symlink_to("/dev/zero")
    with pytest.raises(DataError, match="it is a device, not a regular file"):
        source_of(tmp_path).read()
    (raw / TRAIN_LABELS).unlink()
    (raw / TRAIN_LABELS).mkdir()
    with pytest.raises(DataError, match="it is a folder, not a regular file"):
        source_of(tmp_path).read()


def test_processed_tensors_are_not_read_in_place_of_the_original_files(tmp_path):
    """Another program may have left anything there; torchvision would load it."""
    write_folder(tmp_path / "MNIST" / "raw", mnist_files())
    write_folder(tmp_path / "MNIST" / "processed", {"training.pt": b"", "test.pt": b""})
    assert source_of(tmp_path).read().train.per_class(10) == (2,) * 10
