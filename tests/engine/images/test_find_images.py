"""Datasets wherever they lie: same images, same order, same fingerprint; faults by name."""

import io
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from ddspec.dsl.diagnostics import DataError, SpecError
from ddspec.dsl.facts import class_names
from ddspec.dsl.facts.datasets import KNOWN
from ddspec.dsl.facts.machine import Machine
from ddspec.dsl.parsing.loader import checked, parse_spec
from ddspec.dsl.plan.compiler import compile_spec
from ddspec.dsl.spec.dataset import Dataset
from ddspec.engine.exchange.synthetic_file import to_pixels
from ddspec.engine.images.find_images import find_source, read_digits
from ddspec.engine.images.image_files import zip_members
from ddspec.engine.images.ingest import dataset_facts
from ddspec.engine.images.real_data import load_data
from ddspec.engine.store.artifacts import read_whitening
from ddspec.engine.store.store import Store

FOLDER = Dataset(name="folder", root="pets")
CIFAR10 = Dataset(name="cifar10")
CIFAR10_CLASSES = class_names.CIFAR10


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
        patched.setattr(
            "ddspec.engine.images.find_images.decode_dataset",
            lambda *a: pytest.fail("decoded again"),
        )
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
    whitening = read_whitening(store, plan.step("dataset"))
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
        ({"test/dog/000.png": png(1)}, ["dog", "needs both splits"]),
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


def checked_with(facts, *overrides):
    """What a small CIFAR-10 spec on images that were read is told."""
    text = 'ddspec = 1\nname = "x"\n[dataset]\nname = "cifar10"\n[synthetic]\nipc = 1\n'
    return checked(parse_spec(text, "x.toml", overrides), facts).warnings


def test_cifar_with_a_class_missing_is_another_problem_that_a_spec_has_to_name(tmp_path):
    as_zip(tmp_path / "cifar10.zip", members(CIFAR10_CLASSES[:9], 3, 1, size=(32, 32)))
    facts = dataset_facts(CIFAR10, tmp_path, Store(tmp_path / "store"))
    with pytest.raises(SpecError, match="9 of the 10 classes of cifar10"):
        checked_with(facts)
    with pytest.raises(SpecError, match="no class 'truck' here"):
        checked_with(facts, 'dataset.classes=["cat", "truck"]')
    (warned,) = checked_with(facts, 'dataset.classes=["cat", "dog"]')
    assert (warned.code, warned.severity) == ("incomplete-dataset", "warning")


def test_cifar_with_images_missing_is_warned_of(tmp_path):
    as_zip(tmp_path / "cifar10.zip", members(CIFAR10_CLASSES, 3, 1, size=(32, 32)))
    facts = dataset_facts(CIFAR10, tmp_path, Store(tmp_path / "store"))
    (warned,) = checked_with(facts)
    assert "30 of the 50,000 train images" in warned.problem


def loaded_data(facts, store, *overrides):
    """What a spec on the folder gives networks to train on, as bytes again, and the plan."""
    plan = plan_of(facts, *overrides)
    data, step = load_data(plan.step("dataset"), store, torch_cpu()), plan.step("dataset")

    def as_bytes(images):
        return (to_pixels(images.numpy(), step.facts, None) * 255).round().astype(np.uint8)

    return data, as_bytes, step


def test_classes_are_taken_in_the_order_that_a_spec_names_them(tmp_path):
    as_folder(tmp_path / "pets", members(("ant", "bee", "cat"), train=4))
    store = Store(tmp_path / "store")
    facts, raw = dataset_facts(FOLDER, tmp_path, store), source_of(tmp_path).read()
    chosen = ['dataset.classes=["cat", "ant"]', "dataset.images_per_class=3"]
    data, as_bytes, step = loaded_data(facts, store, *chosen)
    expected = np.concatenate([raw.train.images[8:11], raw.train.images[0:3]])
    assert np.array_equal(as_bytes(data.train_images), expected)
    assert data.train_labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.test_labels.tolist() == [0, 0, 1, 1]
    assert step.facts.class_names == ("cat", "ant")
    assert step.facts.train_per_class == (3, 3)


def test_held_out_images_are_random_in_each_class_and_nobody_elses(tmp_path):
    as_folder(tmp_path / "pets", members(train=10))
    store = Store(tmp_path / "store")
    facts, raw = dataset_facts(FOLDER, tmp_path, store), source_of(tmp_path).read()
    data, as_bytes, step = loaded_data(facts, store, "dataset.validation=0.3")
    assert step.facts.train_per_class == (7, 7)
    assert step.facts.validation_per_class == (3, 3)
    assert data.validation_labels.tolist() == [0, 0, 0, 1, 1, 1]
    kept, held = (
        {i.tobytes() for i in as_bytes(d)} for d in (data.train_images, data.validation_images)
    )
    assert not kept & held
    assert kept | held == {image.tobytes() for image in raw.train.images}
    for other, same in ((0, True), (1, False)):
        again, _, _ = loaded_data(
            facts, store, "dataset.validation=0.3", f"dataset.split_seed={other}"
        )
        assert torch.equal(again.validation_images, data.validation_images) == same


def test_whitening_is_fitted_on_the_images_that_are_trained_on(tmp_path):
    as_folder(tmp_path / "pets", members(train=10))
    store = Store(tmp_path / "store")
    facts = dataset_facts(FOLDER, tmp_path, store)
    fitted = []
    for share in (0.0, 0.3):
        step = plan_of(facts, "dataset.zca=true", f"dataset.validation={share}").step("dataset")
        load_data(step, store, torch_cpu())
        fitted.append(read_whitening(store, step).mean)
    assert not np.allclose(*fitted)


def source_of(folder, **options):
    return find_source(FOLDER.model_copy(update=options), folder, fetch=False)


def picture(image):
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    return stream.getvalue()


def test_images_of_unequal_sizes_are_resized_and_the_middle_is_cut_out(tmp_path):
    wide = Image.new("RGB", (32, 16), "red")
    wide.paste("blue", (8, 0, 24, 16))
    as_folder(tmp_path / "pets", members() | {"train/ant/000.png": picture(wide)})
    with pytest.raises(DataError, match="32x16") as caught:
        source_of(tmp_path).read()
    assert "dataset.resolution" in caught.value.hint
    cut = source_of(tmp_path, resolution=8).read().train.images
    assert cut.shape == (6, 3, 8, 8)
    inside = cut[0, :, :, 1:7]  # At the edge the filter sees what was cut off.
    assert (inside[2] == 255).all() and (inside[0] == 0).all()
    whole = source_of(tmp_path, resolution=8, fit="stretch").read().train.images
    assert (whole[0, 0, :, 0] == 255).all() and (whole[0, 2, :, 4] == 255).all()


def test_shrinking_averages_over_what_it_leaves_out(tmp_path):
    """Antialiased: a chessboard of single pixels becomes grey, not black or white."""
    board = Image.fromarray(np.indices((64, 64)).sum(0).astype(np.uint8) % 2 * 255)
    as_folder(tmp_path / "pets", members() | {"train/ant/000.png": picture(board)})
    small = source_of(tmp_path, resolution=8).read().train.images[0]
    assert abs(small.astype(int) - 128).max() < 16


def test_transparent_images_are_laid_on_the_background_that_is_asked_for(tmp_path):
    clear = Image.new("RGBA", (6, 4), (255, 0, 0, 0))
    as_folder(tmp_path / "pets", members() | {"train/ant/000.png": picture(clear)})
    with pytest.raises(DataError, match="transparent") as caught:
        source_of(tmp_path).read()
    assert "dataset.alpha" in caught.value.hint
    for name, value in (("white", 255), ("black", 0)):
        assert (source_of(tmp_path, alpha=name).read().train.images[0] == value).all()


def test_palettes_become_colours_and_colours_become_grey_where_that_is_asked_for(tmp_path):
    palette = Image.new("P", (6, 4), 1)
    palette.putpalette([0, 0, 0, 0, 200, 0])
    as_folder(tmp_path / "pets", members(mode="L") | {"train/ant/000.png": picture(palette)})
    colour = source_of(tmp_path).read().train.images
    assert colour.shape[1] == 3 and (colour[0, 1] == 200).all()
    grey = source_of(tmp_path, color="grey").read().train.images
    assert grey.shape[1] == 1 and (grey[0] == round(0.587 * 200)).all()


def test_subset_of_imagenet_is_read_by_its_ids_from_its_own_folder_or_all_of_imagenet(tmp_path):
    ids = class_names.IMAGENET["imagewoof"]
    files = members(tuple(ids), 2, 1, size=(20, 30))
    as_folder(tmp_path / "a" / "imagewoof", files)
    as_folder(tmp_path / "b" / "imagenet", files | members(("n00000001",), 2, 1))
    woof = Dataset(name="imagewoof", resolution=16)
    found = [find_source(woof, tmp_path / place, fetch=False).read() for place in "ab"]
    assert found[0].fingerprint == found[1].fingerprint
    assert found[0].class_names == tuple(ids.values()) == KNOWN["imagewoof"].class_names
    assert found[0].train.images.shape == (20, 3, 16, 16)
    with pytest.raises(DataError) as caught:
        find_source(woof, tmp_path / "none", fetch=False)
    assert "n02096294" in caught.value.hint


def test_tiny_imagenet_as_its_archive_unpacks_is_what_sorted_folders_are(tmp_path):
    ids = class_names.TINY_IMAGENET[:3]
    files = members(ids, 2, 2, size=(64, 64))
    as_zip(tmp_path / "sorted" / "tiny_imagenet.zip", files)
    base, labels = tmp_path / "raw" / "tiny-imagenet-200", []
    for name, content in files.items():
        split, wnid, file = name.split("/")
        plain = f"val_{wnid}_{file}"
        place = f"train/{wnid}/images/{file}" if split == "train" else f"val/images/{plain}"
        as_folder(base, {place: content})
        if split == "test":
            labels.append(f"{plain}\t{wnid}\t0\t0\t62\t62")
    (base / "val" / "val_annotations.txt").write_text("\n".join(labels))
    tiny = Dataset(name="tiny_imagenet")
    found = [find_source(tiny, tmp_path / p, fetch=False).read() for p in ("sorted", "raw")]
    assert found[0].fingerprint == found[1].fingerprint
    assert found[0].class_names == ids


def idx(array):
    """An array of bytes in the format of MNIST's files."""
    head = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return head + array.astype(np.uint8).tobytes()


def test_mnist_in_its_own_files_is_read(tmp_path):
    random, files = np.random.default_rng(0), {}
    labels = {"train": np.tile(np.arange(10), 2), "t10k": np.arange(10)}
    images = {split: random.integers(0, 256, (len(own), 28, 28)) for split, own in labels.items()}
    for split in labels:
        files[f"{split}-images-idx3-ubyte"] = idx(images[split])
        files[f"{split}-labels-idx1-ubyte"] = idx(labels[split])
    as_folder(tmp_path / "MNIST" / "raw", files)
    raw = find_source(Dataset(name="mnist"), tmp_path, fetch=False).read()
    assert raw.train.images.shape == (20, 1, 28, 28)
    assert np.array_equal(raw.train.images[0, 0], images["train"][0])
    assert np.array_equal(raw.train.images[1, 0], images["train"][10])
    larger = find_source(Dataset(name="mnist", resolution=32), tmp_path, fetch=False).read()
    assert larger.train.images.shape == (20, 1, 32, 32)


def test_svhn_is_asked_for_by_the_words_of_its_loader(tmp_path, monkeypatch):
    class Layout:
        """torchvision gives SVHN as (n, 3, 32, 32), and takes a word for the split."""

        def __init__(self, root, split, download):
            self.labels = np.arange(10)[::-1]
            self.data = np.full((10, 3, 32, 32), 7 if split == "train" else 9, np.uint8)

    monkeypatch.setattr("torchvision.datasets.SVHN", Layout)
    (tmp_path / "train_32x32.mat").touch()
    raw = find_source(Dataset(name="svhn"), tmp_path, fetch=False).read()
    assert (raw.train.images == 7).all() and (raw.test.images == 9).all()
    assert raw.train.labels.tolist() == list(range(10))


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
