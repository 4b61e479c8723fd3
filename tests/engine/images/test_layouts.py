"""Every file of a dataset is read or counted, in every layout; what cannot be read says why."""

import io
import os
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from ddspec.dsl.diagnostics import DataError, DataMissing
from ddspec.engine.images.image_formats import FORMAT_OF, SUFFIXES, formats_for
from tests.engine.images.samples import (
    members,
    random_png,
    source_of,
    write_folder,
    write_zip,
)

HIDDEN_FILES = (
    "train/.ipynb_checkpoints/0-checkpoint.png",
    "test/.ipynb_checkpoints/0-checkpoint.png",
    "train/cat/.cache/0.png",
    "train/cat/._000.png",
    "__MACOSX/train/cat/000.png",
    "train/__MACOSX/000.png",
    ".hidden/train/cat/0.png",
)


def encoded(kind, mode="RGB", size=(6, 4)):
    """Return a picture as the bytes of a file of one of Pillow's formats."""
    stream = io.BytesIO()
    Image.new(mode, size, 90).save(stream, format=kind)
    return stream.getvalue()


def write_both(tmp_path, files):
    """Write files as a folder and as a zip file; return the folders that hold them."""
    write_folder(tmp_path / "folder" / "pets", files)
    write_zip(tmp_path / "zip" / "pets.zip", files)
    return tmp_path / "folder", tmp_path / "zip"


def test_hidden_files_and_folders_are_neither_classes_nor_images(tmp_path):
    for folder in write_both(tmp_path, members() | dict.fromkeys(HIDDEN_FILES, random_png(1))):
        source = source_of(folder)
        raw = source.read()
        assert raw.class_names == ("ant", "cat")
        assert raw.train.per_class(2) == (3, 3)
        assert source.account.passed_over == {"hidden": len(HIDDEN_FILES)}
        assert source.account.files == 10 + len(HIDDEN_FILES)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("train/cat/x.jfif", "JPEG"),
        ("train/cat/x.JPG", "JPEG"),
        ("train/cat/x.jpe", "JPEG"),
        ("train/cat/x.ppm", "PPM"),
        ("train/cat/x.pnm", "PPM"),
        ("train/cat/x.tga", "TGA"),
        ("train/cat/x.jp2", "JPEG2000"),
        ("train/cat/x.sgi", "SGI"),
        ("train/cat/x.pcx", "PCX"),
        ("train/cat/x.dib", "DIB"),
        ("train/cat/without_suffix", "PNG"),
        ("train/cat/without_suffix_too", "WEBP"),
        ("train/cat/one/two/deeper.png", "PNG"),
        ("train/cat/jpeg_in_truth.png", "JPEG"),
    ],
)
def test_every_kind_of_still_image_is_read(tmp_path, name, kind):
    for folder in write_both(tmp_path, members() | {name: encoded(kind)}):
        source = source_of(folder)
        assert source.read().train.per_class(2) == (3, 4)
        assert source.account.passed_over == {}


def test_files_that_are_not_images_are_counted_by_suffix(tmp_path):
    others = ("a.txt", "b.TXT", "Thumbs.db", "README", "movie.mp4", "c.pdf", "d.eps", "x.heic")
    files = members() | {f"train/cat/{name}": b"some text" for name in others}
    files |= {"labels.csv": b"", "train/loose.png": random_png(1), "extra/x.png": random_png(1)}
    for folder in write_both(tmp_path, files):
        account = source_of(folder).account
        assert account.passed_over == {
            ".csv": 1,
            ".db": 1,
            ".eps": 1,
            ".heic": 1,
            ".mp4": 1,
            ".pdf": 1,
            ".txt": 2,
            "in extra/": 1,
            "outside of class folders": 1,
            "without suffix": 1,
        }
        assert account.text.startswith("2 .txt, 1 .csv, ")
        assert (account.files, account.images) == (len(files), 10)


def test_every_suffix_of_pillow_is_read_or_left_out_on_purpose():
    Image.init()
    left_out = {"BUFR", "EPS", "FLI", "GRIB", "HDF5", "IM", "IPTC", "MPEG", "PALM", "PDF", "WMF"}
    for suffix, kind in Image.EXTENSION.items():
        assert suffix in FORMAT_OF or kind in left_out, suffix
    assert not left_out & set(SUFFIXES)


def test_no_other_program_is_started_for_postscript_with_the_name_of_an_image(tmp_path):
    write_folder(tmp_path / "pets", members() | {"train/cat/x.png": encoded("EPS")})
    assert "EPS" not in formats_for("x.png")
    with pytest.raises(DataError, match=r"train/cat/x\.png is not an image"):
        source_of(tmp_path).read()


def test_links_are_followed_and_those_in_circles_counted(tmp_path):
    write_folder(tmp_path / "pets", members())
    write_folder(tmp_path / "elsewhere", {"x.png": random_png(8)})
    cat = tmp_path / "pets/train/cat"
    (cat / "linked").symlink_to(tmp_path / "elsewhere")
    (cat / "up").symlink_to(tmp_path / "pets/train")
    (cat / "itself").symlink_to(cat / "itself")
    os.mkfifo(cat / "pipe.png")
    account = source_of(tmp_path).account
    assert account.images == 11
    assert account.passed_over == {
        "broken links": 1,
        "links to a folder above": 1,
        "not regular files": 1,
    }
    (cat / "gone.png").symlink_to("nowhere")
    with pytest.raises(DataError, match=r"train/cat/gone\.png leads nowhere"):
        source_of(tmp_path)


def test_file_names_that_are_not_utf8_are_read_and_class_names_refused(tmp_path):
    write_folder(tmp_path / "pets", members())
    cat = os.fsencode(tmp_path / "pets/train/cat")
    Path(os.fsdecode(cat + b"/caf\xe9.png")).write_bytes(random_png(9))
    assert source_of(tmp_path).read().train.per_class(2) == (3, 4)
    Path(os.fsdecode(cat + b"/caf\xe9.png")).write_bytes(b"broken")
    with pytest.raises(DataError) as caught:
        source_of(tmp_path).read()
    assert r"train/cat/caf\xe9.png" in str(caught.value)
    Path(os.fsdecode(cat)).rename(os.fsdecode(cat + b"\xe9"))
    with pytest.raises(DataError, match=r"class folder cat\\xe9 .* is not UTF-8"):
        source_of(tmp_path)


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("Train", "Test"),
        ("Training", "Testing"),
        ("training", "valid"),
        ("train", "validation"),
        ("TRAIN", "VAL"),
        ("wrapped/train", "wrapped/test"),
        ("a/b/train", "a/b/val"),
    ],
)
def test_usual_spellings_of_the_splits_and_wrapped_folders_are_read(tmp_path, train, test):
    def renamed(name):
        split, rest = name.split("/", 1)
        return f"{train if split == 'train' else test}/{rest}"

    plain = tmp_path / "plain"
    write_folder(plain / "pets", members())
    files = {renamed(name): content for name, content in members().items()}
    for folder in write_both(tmp_path, files):
        assert source_of(folder).read().fingerprint == source_of(plain).read().fingerprint


def test_two_splits_of_the_same_meaning_are_refused_and_unused_ones_counted(tmp_path):
    more = {f"Training/{name}/0.png": random_png(3) for name in ("cat", "ant")}
    write_folder(tmp_path / "a" / "pets", members() | more)
    with pytest.raises(DataError, match="Training and train both mean the train split"):
        source_of(tmp_path / "a")
    unused = {f"val/{name}/0.png": random_png(3) for name in ("cat", "ant")}
    write_folder(tmp_path / "b" / "pets", members() | unused)
    assert source_of(tmp_path / "b").account.passed_over == {"in val/": 2}


@pytest.mark.parametrize(
    ("files", "problem", "hint"),
    [
        (("a/0.png", "b/0.png"), "1 image in a/, 1 image in b/", "pets/train/a/FILE"),
        (("train/0.png", "train.json"), "1 image in train/, 1 .json", "labels in .json files"),
        (("train_images/0.png", "test_images/1.png"), "1 image in train_images/", '"train" and'),
        (("train.csv",), "1 .csv", "place the images that .csv files name in pets/"),
        (("train-00000-of-00001.arrow",), "1 .arrow", ".arrow files are not read"),
        (("train.tar.lz4",), "1 .lz4", "named train or training"),
        (("test/a/0.png", "test/b/0.png"), "2 images in test/", 'images "train"'),
        (("learn/a/0.png", "exam/a/0.png"), "1 image in exam/", "named train or training"),
        ((), "no files", "named train or training"),
    ],
)
def test_unknown_layout_says_what_is_there_and_what_to_rename(tmp_path, files, problem, hint):
    (tmp_path / "pets").mkdir()
    write_folder(tmp_path / "pets", {name: random_png(0) for name in files})
    with pytest.raises(DataMissing) as caught:
        source_of(tmp_path)
    assert "pets/ is in" in str(caught.value) and problem in str(caught.value)
    assert hint in caught.value.hint


def test_missing_test_images_are_said_with_the_folders_that_are_there(tmp_path):
    write_folder(
        tmp_path / "pets", {n.replace("test/", "holdout/"): c for n, c in members().items()}
    )
    with pytest.raises(DataError, match="no test images; passed over: 4 in holdout/") as caught:
        source_of(tmp_path).read()
    assert '"test" or "val"' in caught.value.hint


def test_zip_beside_its_folder_is_refused_with_both_names(tmp_path):
    write_zip(tmp_path / "pets.zip", members())
    (tmp_path / "pets").mkdir()
    assert source_of(tmp_path).account.images == 10
    write_folder(tmp_path / "pets", members())
    with pytest.raises(DataError, match=r"pets\.zip and image files in pets/"):
        source_of(tmp_path)
    (tmp_path / "pets.zip").unlink()
    write_zip(tmp_path / "pets" / "train-00.zip", {"cat/0.png": random_png(0)})
    with pytest.raises(DataError, match=r"train-00\.zip in pets/ and image files in pets/"):
        source_of(tmp_path)


def marked_zip(path, files, at, value):
    """Write a zip file and set one byte in the headers of every member."""
    write_zip(path, files)
    data = bytearray(path.read_bytes())
    for mark, shift in ((b"PK\x03\x04", 0), (b"PK\x01\x02", 2)):
        start = data.find(mark)
        while start >= 0:
            data[start + at + shift] = value
            start = data.find(mark, start + 4)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("at", "value", "words"), [(8, 9, "compressed by Deflate64"), (6, 1, "has a password")]
)
def test_members_that_cannot_be_unpacked_are_named(tmp_path, at, value, words):
    marked_zip(tmp_path / "pets.zip", members(), at, value)
    with pytest.raises(DataError, match=rf"pets\.zip: test/ant/\d+\.png .*{words}|{words}"):
        source_of(tmp_path)


def test_damaged_member_is_named(tmp_path):
    path = tmp_path / "pets.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members(size=(40, 40)).items():
            archive.writestr(name, content)
        target = archive.getinfo("train/cat/000.png")
    data = bytearray(path.read_bytes())
    start = target.header_offset + 30 + len(target.filename)
    for offset in (1, target.compress_size // 2):
        damaged = data.copy()
        damaged[start + offset] ^= 0xFF
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"pets\.zip: train/cat/000\.png is damaged"):
            source_of(tmp_path).read()


def test_member_that_is_there_twice_is_refused(tmp_path):
    write_zip(tmp_path / "pets.zip", members())
    with pytest.warns(UserWarning), zipfile.ZipFile(tmp_path / "pets.zip", "a") as archive:
        archive.writestr("train/cat/000.png", random_png(5))
    with pytest.raises(DataError, match=r"train/cat/000\.png is in the zip file twice"):
        source_of(tmp_path)


def test_zip_files_of_windows_have_backslashes_between_folders(tmp_path):
    write_zip(tmp_path / "a" / "pets.zip", members())
    path = tmp_path / "b" / "pets.zip"
    write_zip(path, {name.replace("/", "\\"): content for name, content in members().items()})
    first, second = (source_of(tmp_path / name).read() for name in "ab")
    assert first.fingerprint == second.fingerprint
