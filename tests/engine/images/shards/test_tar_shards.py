"""Tar shards give the dataset of class folders; nothing in them is unpacked or leads elsewhere."""

import gzip
import io
import json
import tarfile

import pytest

from ddspec.dsl.diagnostics import DataError, DataMissing
from tests.engine.images.samples import members, random_png, source_of, write_folder, write_zip

FILES = members()
NUMBER = {"ant": "0", "cat": "1"}


def shard(files, other=()):
    """Return a tar archive of files as bytes, with other members behind them."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in other:
            archive.addfile(info)
    return stream.getvalue()


def samples(split, label, suffix):
    """Return the members of a split: images, and their labels under a suffix."""
    found = {}
    for name, content in FILES.items():
        of, class_name, file = name.split("/")
        if of == split:
            key = f"{class_name}_{file.removesuffix('.png')}"
            found[f"{key}.png"] = content
            found[f"{key}.{suffix}"] = label(class_name)
    return found


def halves(split, label=lambda name: name.encode(), suffix="cls"):
    """Return two shards of a split."""
    items = list(samples(split, label, suffix).items())
    middle = len(items) // 4 * 2
    return shard(dict(items[:middle])), shard(dict(items[middle:]))


def four(first, second, **options):
    """Return four shards, named by their split and number."""
    files = {}
    for split, form in (("train", first), ("test", second)):
        for number, content in enumerate(halves(split, **options)):
            files[form.format(number)] = content
    return files


LAYOUTS = {
    "webdataset": four("train-{:06}.tar", "test-{:06}.tar"),
    "val": four("imagenet-train-{:04}.tar", "imagenet-val-{:04}.tar"),
    "in folders": four("train/{:05}.tar", "test/{:05}.tar"),
    "json": four("train_{}.tar", "test_{}.tar", label=lambda n: json.dumps({"label": n}).encode(), suffix="json"),
    "plain json": four("train_{}.tar", "test_{}.tar", label=lambda n: json.dumps(n).encode(), suffix="json"),
    "cls.txt": four("train_{}.tar", "test_{}.tar", label=lambda n: n.encode() + b"\n", suffix="cls.txt"),
    "names beside": {"classnames.txt": b"ant\ncat\n"}
    | four("train/{}.tar", "test/{}.tar", label=lambda n: NUMBER[n].encode()),
}  # fmt: skip


@pytest.mark.parametrize("case", LAYOUTS)
def test_shards_give_the_dataset_of_class_folders(tmp_path, case):
    write_folder(tmp_path / "plain" / "pets", FILES)
    write_folder(tmp_path / "pets", LAYOUTS[case])
    before = sorted(tmp_path.rglob("*"))
    source = source_of(tmp_path)
    raw = source.read()
    assert raw.fingerprint == source_of(tmp_path / "plain").read().fingerprint
    assert raw.class_names == ("ant", "cat")
    assert source.account.model_dump() == {"files": 10, "images": 10, "passed_over": {}}
    assert source.label == "pets/ (4 .tar files)"
    names = "names of classes from classnames.txt"
    assert source.notes == ((names,) if case == "names beside" else ())
    assert sorted(tmp_path.rglob("*")) == before


def test_shards_without_a_split_are_split_and_classes_sorted_as_numbers(tmp_path):
    files = {}
    for n in range(24):
        files |= {f"{n}.png": random_png(n), f"{n}.cls": str(n % 12).encode()}
    write_folder(tmp_path / "pets", {"00000.tar": shard(files)})
    with pytest.raises(DataMissing, match="has no split"):
        source_of(tmp_path)
    assert source_of(tmp_path, split=0.5).read().class_names == tuple(map(str, range(12)))


def odd_members():
    """Return links, devices and folders that lead out of a shard, as headers."""
    infos = []
    for name, kind in (("link.png", tarfile.SYMTYPE), ("hard.png", tarfile.LNKTYPE), ("pipe.png", tarfile.FIFOTYPE), ("device.png", tarfile.CHRTYPE), ("folder", tarfile.DIRTYPE)):  # fmt: skip
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, "/etc/passwd"
        infos.append(info)
    return infos


def test_members_that_are_not_samples_are_counted_by_the_reason(tmp_path):
    more = {
        "/etc/x.png": b"", "../x.png": b"", ".hidden.png": b"", "a.txt": b"a text",
        "alone.png": random_png(1), "alone.json": b"{}", "lonely.cls": b"cat",
        "cat_000.mask.png": random_png(2), "x.caption": b"", "sample": b"",
    }  # fmt: skip
    files = dict(LAYOUTS["webdataset"])
    files["train-000002.tar"] = shard(
        more | {"cat_000.png": random_png(7), "cat_000.cls": b"cat"}, odd_members()
    )
    write_folder(tmp_path / "pets", files)
    source = source_of(tmp_path)
    assert source.account.model_dump() == {
        "files": 25,
        "images": 11,
        "passed_over": {
            ".caption": 1, ".txt": 1, "hidden": 1, "labels without an image": 1,
            "more images of a sample": 1, "not regular files": 4, "without suffix": 1,
            "with unsafe names": 2, "without a label": 2,
        },
    }  # fmt: skip
    assert source.read().train.per_class(2) == (3, 4)


def test_missing_numbers_and_unused_shards_are_said(tmp_path):
    files = dict(LAYOUTS["webdataset"])
    files["train-000004.tar"] = files.pop("train-000001.tar")
    files |= {"val-000000.tar": halves("test")[0], "extra.tar": halves("test")[1]}
    write_folder(tmp_path / "pets", files)
    source = source_of(tmp_path)
    assert source.notes == ("3 numbers of train missing in between",)
    assert source.account.passed_over == {"of validation split": 2, "of no split": 2}


def with_size(content, size):
    """Return an archive whose first header states another size."""
    info = tarfile.TarInfo.frombuf(content[:512], "utf-8", "strict")
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT) + content[512:]


def negative(content):
    """Return an archive in which a longer header states a negative size."""
    info = tarfile.TarInfo("loop.png")
    info.pax_headers = {"size": "-1024"}
    return info.tobuf(tarfile.PAX_FORMAT) + content


WHOLE = LAYOUTS["webdataset"]["train-000000.tar"]
REFUSED = {
    "compressed": ({"train-000000.tar": gzip.compress(WHOLE)}, "train-000000.tar is compressed"),
    "suffix of gzip": ({"train-000000.tar.gz": gzip.compress(WHOLE)}, "has compressed tar files"),
    "cut off": ({"train-000000.tar": WHOLE[:1400]}, r"train-000000\.tar cannot be read"),
    "empty": ({"train-000000.tar": b""}, r"train-000000\.tar cannot be read"),
    "damaged": ({"train-000000.tar": WHOLE[:1024] + b"x" * 512 + WHOLE[1536:]}, "cannot be read"),
    "huge": ({"train-000000.tar": with_size(WHOLE, 2**40)}, "cannot be read"),
    "negative": ({"train-000000.tar": with_size(WHOLE, -1024)}, "negative size"),
    "negative in a longer header": ({"train-000000.tar": negative(WHOLE)}, "negative size|has no split"),
    "no labels": ({"train.tar": shard({"cat/0.png": b"", "ant/0.png": b""})}, "no image with a label; passed over: 2"),
    "huge label": ({"train.tar": shard({"0.png": b"", "0.cls": bytes(2**21)})}, "2,097,152 bytes; of a label"),
    "list": ({"train.tar": shard({"0.png": b"", "0.json": b'{"label": [1, 2]}'})}, "has several labels"),
    "deep": ({"train.tar": shard({"0.png": b"", "0.json": b"[" * 10**6})}, "is not JSON"),
    "bytes": ({"train.tar": shard({"0.png": b"", "0.cls": b"\xe9"})}, "is not a text in UTF-8"),
    "label twice": ({"train.tar": shard({"0.cls": b"1", "./0.cls": b"2"})}, "0.cls is in the shard twice"),
    "two images": ({"train.tar": shard({"0.png": b"", "0.jpg": b"", "0.cls": b"1"})}, "two images of one sample"),
    "unknown class": ({"classes.txt": b"cat\n", "train.tar": shard({"0.png": b"", "0.cls": b"1"})}, "has 1 lines: 0 to 0"),
    "class twice": ({"classes.txt": b"cat\ncat", "train.tar": WHOLE}, "names a class twice"),
    "two splits": ({"train-test-0.tar": WHOLE}, "the names of several splits: train and test"),
    "two datasets": ({"a/train.tar": WHOLE, "b/train.tar": WHOLE}, "in several folders"),
    "only test": ({"test-0.tar": WHOLE}, "images of the test split only"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_unfit_shards_are_refused_in_words(tmp_path, case, no_hang):
    files, words = REFUSED[case]
    write_folder(tmp_path / "pets", files)
    with no_hang(case), pytest.raises(DataError, match=words):
        source_of(tmp_path)


def test_broken_image_in_a_shard_is_named(tmp_path):
    files = LAYOUTS["webdataset"] | {"train-000002.tar": shard({"x.png": b"no", "x.cls": b"cat"})}
    write_folder(tmp_path / "pets", files)
    with pytest.raises(DataError, match=r"train-000002\.tar: x\.png is not an image"):
        source_of(tmp_path).read()


def test_shards_in_a_zip_file_or_of_a_known_dataset_are_said_to_be_readable(tmp_path):
    write_zip(tmp_path / "pets.zip", LAYOUTS["webdataset"])
    with pytest.raises(DataMissing, match=r"pets\.zip .* it holds 4 \.tar") as caught:
        source_of(tmp_path)
    assert caught.value.hint == ".tar files can be read: unpack pets.zip to pets/ and remove it"
    write_folder(tmp_path / "imagenette", LAYOUTS["webdataset"])
    with pytest.raises(DataMissing, match=r"imagenette/ is in .* it holds 4 \.tar") as caught:
        source_of(tmp_path, name="imagenette", root=None)
    assert 'dataset.name = "folder" and dataset.root = "imagenette"' in caught.value.hint


def test_archive_beside_its_unpacked_images_and_their_table_is_counted(tmp_path):
    files = {name.replace("/", "_"): content for name, content in FILES.items()}
    rows = [f"{name},{name.split('_')[1]},{name.split('_')[0]}" for name in files]
    table = "\n".join(["file,label,split", *rows]).encode()
    write_folder(tmp_path / "pets", files | {"all.csv": table, "images.tar": shard(files)})
    assert source_of(tmp_path).account.passed_over == {".tar": 1}
    write_folder(tmp_path / "pets", LAYOUTS["webdataset"] | {"all.csv": b"x,y\n1,2"})
    (tmp_path / "pets" / "images.tar").unlink()
    source = source_of(tmp_path)
    assert source.label == "pets/ (4 .tar files)"
    assert source.notes == ("beside them, passed over: 1 .csv, 10 image files",)


def test_dataset_in_two_forms_is_refused(tmp_path):
    write_folder(tmp_path / "pets", LAYOUTS["webdataset"])
    (tmp_path / "pets" / "stl10_binary").mkdir()
    for name in ("train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin"):
        (tmp_path / "pets" / "stl10_binary" / name).write_bytes(b"")
    with pytest.raises(DataError, match=r"pets/stl10_binary/ and pets/ \(4 \.tar files\)"):
        source_of(tmp_path)
