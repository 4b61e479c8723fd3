"""Datasets wherever they lie: same images, same order, same fingerprint; faults by name."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from ddspec.dsl.compiler import compile_spec
from ddspec.dsl.datasets import CIFAR10_CLASSES, KNOWN
from ddspec.dsl.diagnostics import DataError
from ddspec.dsl.estimate import Machine
from ddspec.dsl.loader import parse_spec
from ddspec.dsl.spec import Dataset
from ddspec.engine.artifacts import read_whitening
from ddspec.engine.data import load_data
from ddspec.engine.image_files import zip_members
from ddspec.engine.ingest import dataset_facts
from ddspec.engine.keepsakes import to_pixels
from ddspec.engine.sources import find_source, read_digits
from ddspec.engine.store import Store

FOLDER = Dataset(name="folder", root="pets")
CIFAR10 = Dataset(name="cifar10")


def png(seed, size=(6, 4), mode="RGB"):
    """An image of random pixels as the bytes of a PNG."""
    channels = len(Image.new(mode, (1, 1)).getbands())
    shape = (size[1], size[0], channels) if channels > 1 else (size[1], size[0])
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels, mode).save(stream, format="PNG") if mode != "P" else None
    return stream.getvalue()


def members(classes=("cat", "ant"), train=3, test=2, **options):
    """Image files as {split/class/file: bytes}."""
    found = {}
    for number, name in enumerate(classes):
        for split, count in (("train", train), ("test", test)):
            for index in range(count):
                seed = 1000 * number + 10 * index + (split == "test")
                found[f"{split}/{name}/{index:03d}.png"] = png(seed, **options)
    return found


def as_folder(base, files):
    for name, content in files.items():
        path = base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def as_zip(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in reversed(files.items()):
            archive.writestr(name, content)


def test_folder_and_both_kinds_of_zip_give_one_fingerprint(tmp_path):
    files = members()
    as_folder(tmp_path / "a" / "pets", files)
    as_zip(tmp_path / "b" / "pets.zip", files)
    for split, name in (("train", "train"), ("test", "val")):
        part = {k.split("/", 1)[1]: v for k, v in files.items() if k.startswith(split)}
        halves = list(part.items())
        as_zip(tmp_path / "c" / "pets" / f"{name}-00.zip", dict(halves[::2]))
        as_zip(tmp_path / "c" / "pets" / f"{name}-01.zip", dict(halves[1::2]))
    found = [find_source(FOLDER, tmp_path / place, fetch=False).read() for place in "abc"]
    assert len({raw.fingerprint for raw in found}) == 1
    assert found[0].class_names == ("ant", "cat")
    assert found[0].train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert found[0].train.images.shape == (6, 3, 4, 6)


def test_one_changed_pixel_changes_the_fingerprint(tmp_path):
    files = members()
    as_folder(tmp_path / "a" / "pets", files)
    pixels = Image.open(io.BytesIO(files["test/ant/001.png"]))
    value = pixels.getpixel((0, 0))
    pixels.putpixel((0, 0), (value[0] ^ 1, *value[1:]))
    stream = io.BytesIO()
    pixels.save(stream, format="PNG")
    as_folder(tmp_path / "b" / "pets", {**files, "test/ant/001.png": stream.getvalue()})
    a, b = (find_source(FOLDER, tmp_path / place, fetch=False).read().fingerprint for place in "ab")
    assert a != b


def test_second_start_reads_no_image_and_notices_a_changed_file(tmp_path, monkeypatch):
    as_folder(tmp_path / "pets", members())
    store = Store(tmp_path / "store")
    first = dataset_facts(FOLDER, tmp_path, store)
    with monkeypatch.context() as patched:
        patched.setattr("ddspec.engine.sources.decode", lambda *a: pytest.fail("decoded again"))
        assert dataset_facts(FOLDER, tmp_path, store) == first
    (tmp_path / "pets/train/cat/000.png").write_bytes(png(777))
    assert dataset_facts(FOLDER, tmp_path, store).fingerprint != first.fingerprint


def test_images_are_normalised_by_their_own_statistics_and_back(tmp_path):
    as_folder(tmp_path / "pets", members())
    store = Store(tmp_path / "store")
    facts = dataset_facts(FOLDER, tmp_path, store)
    plan = plan_of(facts)
    data = load_data(plan.step("dataset"), store, torch_cpu())
    assert data.train_images.mean(dim=(0, 2, 3)).abs().max() < 1e-4
    assert (data.train_images.std(dim=(0, 2, 3), correction=0) - 1).abs().max() < 1e-4
    raw = find_source(FOLDER, tmp_path, fetch=False).read()
    back = (to_pixels(data.train_images.numpy(), facts, None) * 255).round().astype(np.uint8)
    assert np.array_equal(back, raw.train.images)


def test_whitened_images_come_back_and_the_whitening_is_fitted_once(tmp_path):
    as_folder(tmp_path / "pets", members())
    store = Store(tmp_path / "store")
    facts = dataset_facts(FOLDER, tmp_path, store)
    plan = plan_of(facts, "dataset.zca=true")
    data = load_data(plan.step("dataset"), store, torch_cpu())
    (kept,) = (store.root / "whitening").glob("*.h5")
    before = kept.stat().st_mtime_ns
    load_data(plan.step("dataset"), store, torch_cpu())
    assert kept.stat().st_mtime_ns == before
    raw = find_source(FOLDER, tmp_path, fetch=False).read()
    whitening = read_whitening(store, facts.fingerprint)
    back = to_pixels(data.train_images.numpy(), facts, whitening)
    np.testing.assert_allclose(back, raw.train.images / 255, atol=1e-4)
    assert not (data.train_images.mean(dim=(0, 2, 3)).abs() > 1e-3).any()


def plan_of(facts, *overrides):
    """The plan of a small spec on the folder."""
    text = (
        'ddspec = 1\nname = "x"\n[dataset]\nname = "folder"\nroot = "pets"\n'
        "[network]\ndepth = 1\n[synthetic]\nipc = 1\n"
    )
    return compile_spec(parse_spec(text, "x.toml", overrides).spec, facts, Machine("cpu", 2))


def torch_cpu():
    import torch

    return torch.device("cpu")


def test_digits_are_split_as_the_table_of_datasets_says():
    raw, facts = read_digits(), KNOWN["digits"]
    assert raw.train.per_class(10) == facts.train_per_class
    assert raw.test.per_class(10) == facts.test_per_class
    pixels = raw.train.images / raw.white
    assert pixels.mean() == pytest.approx(facts.mean[0], abs=1e-4)
    assert pixels.std() == pytest.approx(facts.std[0], abs=1e-4)


def test_grey_images_stay_grey_and_mixed_ones_become_colour(tmp_path):
    as_folder(tmp_path / "grey" / "pets", members(mode="L"))
    assert find_source(FOLDER, tmp_path / "grey", fetch=False).read().train.images.shape[1] == 1
    mixed = members(mode="L") | {"train/cat/000.png": png(1)}
    as_folder(tmp_path / "mixed" / "pets", mixed)
    assert find_source(FOLDER, tmp_path / "mixed", fetch=False).read().train.images.shape[1] == 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"train/cat/000.png": b"no image"}, ["train/cat/000.png", "broken"]),
        ({"train/cat/000.png": png(1)[:60]}, ["train/cat/000.png", "broken"]),
        ({"train/cat/000.png": png(1, size=(9, 9))}, ["train/cat/000.png", "9x9", "6x4"]),
        ({"train/cat/000.png": png(1, mode="RGBA")}, ["train/cat/000.png", "transparent"]),
        ({"test/dog/000.png": png(1)}, ["dog", "no class"]),
    ],
)
def test_unfit_file_is_named(tmp_path, change, words):
    as_folder(tmp_path / "pets", members() | change)
    with pytest.raises(DataError) as caught:
        find_source(FOLDER, tmp_path, fetch=False).read()
    for word in words:
        assert word in str(caught.value)


def test_missing_folder_says_what_to_place_where(tmp_path):
    with pytest.raises(DataError) as caught:
        find_source(FOLDER, tmp_path, fetch=False)
    assert "pets/train/CLASS/FILE" in caught.value.hint


def test_missing_cifar_says_what_to_place_where(tmp_path, monkeypatch):
    def refuse(*a, **k):
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.datasets.CIFAR10", refuse)
    with pytest.raises(DataError, match="no route to host") as caught:
        find_source(CIFAR10, tmp_path / "new", fetch=True)
    assert "cifar-10-batches-py" in caught.value.hint
    assert "cifar10.zip" in caught.value.hint


def test_plan_alone_neither_downloads_nor_makes_a_folder(tmp_path):
    with pytest.raises(DataError, match="is not in"):
        find_source(CIFAR10, tmp_path / "typo", fetch=False)
    assert not (tmp_path / "typo").exists()


def test_val_counts_as_test_only_where_there_is_no_test(tmp_path):
    files = members() | {
        f"val/{name}/{i:03d}.png": png(5) for name in ("cat", "ant") for i in range(3)
    }
    as_folder(tmp_path / "a" / "pets", files)
    as_zip(tmp_path / "b" / "pets.zip", files)
    for place in "ab":
        assert len(find_source(FOLDER, tmp_path / place, fetch=False).read().test.labels) == 4


def test_cifar_as_image_files_has_the_official_order_of_classes(tmp_path):
    as_zip(tmp_path / "cifar10.zip", members(CIFAR10_CLASSES, 1, 1, size=(32, 32)))
    raw = find_source(CIFAR10, tmp_path, fetch=False).read()
    assert raw.class_names == CIFAR10_CLASSES
    assert raw.train.labels.tolist() == list(range(10))


def test_cifar_with_a_class_missing_is_refused(tmp_path):
    as_zip(tmp_path / "cifar10.zip", members(CIFAR10_CLASSES[:9], 1, 1, size=(32, 32)))
    with pytest.raises(DataError, match="truck"):
        find_source(CIFAR10, tmp_path, fetch=False).read()


def test_archive_members_that_are_no_class_files_are_left_alone(tmp_path):
    strange = {
        "../evil/train/a.png": b"",
        "/abs/x.png": b"",
        "train/x.png": b"",
        "README": b"",
        "a/b/c/d.png": b"",
    }
    as_zip(tmp_path / "x.zip", strange)
    assert zip_members(tmp_path / "x.zip", None) == []
    (tmp_path / "y.zip").write_bytes(b"PK no archive")
    with pytest.raises(DataError, match=r"y\.zip"):
        zip_members(tmp_path / "y.zip", None)


def test_torchvisions_order_and_image_files_give_one_fingerprint(tmp_path, monkeypatch):
    """torchvision's files are shuffled over classes; within a class their order is official."""
    files = members(CIFAR10_CLASSES, 3, 2, size=(32, 32))
    as_zip(tmp_path / "cifar10.zip", files)
    expected = find_source(CIFAR10, tmp_path, fetch=False).read()
    shuffled = np.random.default_rng(0).permutation

    class Layout:
        """What torchvision's loader gives: images as (n, 32, 32, 3) and a list of labels."""

        def __init__(self, root, train, download):
            split = expected.train if train else expected.test
            ranks = {label: iter(np.flatnonzero(split.labels == label)) for label in range(10)}
            self.targets = [int(label) for label in shuffled(split.labels)]
            order = [next(ranks[label]) for label in self.targets]
            self.data = split.images[order].transpose(0, 2, 3, 1)

    monkeypatch.setattr("torchvision.datasets.CIFAR10", Layout)
    (tmp_path / "own" / "cifar-10-batches-py").mkdir(parents=True)
    found = find_source(CIFAR10, tmp_path / "own", fetch=False).read()
    assert found.fingerprint == expected.fingerprint
