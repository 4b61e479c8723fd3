"""Tiny ImageNet as published: labels in a text file are read whole, or refused in words."""

import os
from pathlib import Path

import pytest

from ddspec.dsl.diagnostics import DataError
from ddspec.dsl.facts import class_names
from ddspec.dsl.spec.dataset import Dataset
from ddspec.engine.images.sources.find_images import find_source
from tests.engine.images.samples import random_png, write_folder, write_zip

TINY = Dataset(name="tiny_imagenet", resolution=8)
CLASSES = class_names.TINY_IMAGENET[:2]
LABELS = "val/val_annotations.txt"


def tiny_files():
    """Return a small Tiny ImageNet as {path: bytes}, as its archive unpacks."""
    files, lines = {}, []
    for number, name in enumerate(CLASSES):
        for index in range(2):
            picture = random_png(10 * number + index)
            files[f"train/{name}/images/{index}.png"] = picture
            files[f"val/images/{name}_{index}.png"] = picture
            lines.append(f"{name}_{index}.png\t{name}\t0\t0\t1\t1\n")
    return files | {LABELS: "".join(lines).encode()}


def read(folder):
    return find_source(TINY, folder, fetch=False).read()


def test_zip_file_is_read_like_the_folder(tmp_path):
    write_folder(tmp_path / "a" / "tiny-imagenet-200", tiny_files())
    packed = {f"tiny-imagenet-200/{k}": v for k, v in tiny_files().items()}
    write_zip(tmp_path / "b" / "tiny-imagenet-200.zip", packed)
    assert read(tmp_path / "a").fingerprint == read(tmp_path / "b").fingerprint
    assert read(tmp_path / "b").test.per_class(2) == (2, 2)
    del packed[f"tiny-imagenet-200/{LABELS}"]
    write_zip(tmp_path / "b" / "tiny-imagenet-200.zip", packed)
    with pytest.raises(DataError, match=r"val_annotations\.txt is missing"):
        read(tmp_path / "b")


def test_labels_in_latin_1_are_read(tmp_path):
    files = tiny_files()
    files[LABELS] = b"caf\xe9.png\t" + CLASSES[0].encode() + b"\n" + files[LABELS]
    write_folder(tmp_path / "tiny-imagenet-200", files)
    assert read(tmp_path).test.per_class(2) == (2, 2)
    name = os.fsencode(tmp_path / "tiny-imagenet-200" / "val" / "images") + b"/caf\xe9.png"
    Path(os.fsdecode(name)).write_bytes(random_png(1))
    assert read(tmp_path).test.per_class(2) == (3, 2)


@pytest.mark.parametrize(
    ("label_file", "words"),
    [
        (b"0.png\n", r"line 1 of val_annotations\.txt has no class"),
        (b"0.png\ta\n0.png\tb\n", r"line 2 of .* gives 0\.png another class"),
        (b"\x00\xff", "line 1 of .* has no class"),
    ],
)
def test_odd_labels_are_refused_in_words(tmp_path, label_file, words):
    write_folder(tmp_path / "tiny-imagenet-200", tiny_files() | {LABELS: label_file})
    with pytest.raises(DataError, match=words):
        read(tmp_path)


def test_labels_from_a_pipe_are_refused_in_words(tmp_path):
    write_folder(tmp_path / "tiny-imagenet-200", tiny_files())
    label_file = tmp_path / "tiny-imagenet-200" / LABELS
    label_file.unlink()
    os.mkfifo(label_file)
    with pytest.raises(DataError, match="it is a pipe"):
        read(tmp_path)
