"""Arrays of images are read as they are, or refused with what is wrong; none is unpickled."""

import io
import os
import zipfile

import numpy as np
import pytest

from ddspec.dsl.diagnostics import DataError, MachineError
from tests.engine.images.samples import source_of, write_folder

RANDOM = np.random.default_rng(0)
PIXELS = {
    "train": RANDOM.integers(0, 256, (6, 5, 4), dtype=np.uint8),
    "test": RANDOM.integers(0, 256, (4, 5, 4), dtype=np.uint8),
}
LABELS = {"train": np.array([2, 0, 2, 0, 0, 2]), "test": np.array([0, 2, 2, 0])}


def arrays(**changes):
    """Return the arrays of a small dataset as MedMNIST names them."""
    named = {f"{split}_images": PIXELS[split] for split in PIXELS}
    named |= {f"{split}_labels": LABELS[split][:, None] for split in LABELS}
    named |= changes
    return {name: array for name, array in named.items() if array is not None}


def save(path, **named):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **named)


def test_arrays_of_medmnist_are_read(tmp_path):
    save(
        tmp_path / "pets" / "set.npz",
        **arrays(val_images=PIXELS["test"], val_labels=LABELS["test"]),
    )
    source = source_of(tmp_path)
    assert source.label == "pets/set.npz"
    assert source.notes == (
        "arrays train_images, train_labels, test_images, test_labels",
        "arrays passed over: val_images, val_labels",
    )
    raw = source.read()
    assert raw.class_names == ("0", "2")
    assert raw.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert np.array_equal(raw.train.images[:, 0], PIXELS["train"][[1, 3, 4, 0, 2, 5]])


def test_other_names_shapes_and_labels_are_read(tmp_path):
    colours = {split: np.repeat(pixels[..., None], 3, axis=3) for split, pixels in PIXELS.items()}
    words = {split: np.array(["dog", "", "cat"])[labels] for split, labels in LABELS.items()}
    kinds = {
        "validation": arrays(test_images=None, test_labels=None, val_images=PIXELS["test"], val_labels=LABELS["test"]),
        "floats as labels": arrays(train_labels=LABELS["train"].astype(float)),
        "keras": {
            "x_train": PIXELS["train"], "y_train": LABELS["train"],
            "x_test": PIXELS["test"], "y_test": LABELS["test"],
        },
    }  # fmt: skip
    for name, named in kinds.items():
        save(tmp_path / name / "pets.npz", **named)
    assert len({source_of(tmp_path / name).read().fingerprint for name in kinds}) == 1
    last = {f"{split}_images": pixels for split, pixels in colours.items()}
    first = {name: pixels.transpose(0, 3, 1, 2) for name, pixels in last.items()}
    texts = {f"{split}_labels": labels for split, labels in words.items()}
    save(tmp_path / "last" / "pets.npz", **arrays(**last, **texts))
    save(tmp_path / "first" / "pets.npz", **arrays(**first, **texts))
    datasets = [source_of(tmp_path / name).read() for name in ("last", "first")]
    assert datasets[0].fingerprint == datasets[1].fingerprint
    assert datasets[0].class_names == ("cat", "dog")
    assert datasets[0].train.images.shape == (6, 3, 5, 4)


def test_arrays_are_resized(tmp_path):
    save(tmp_path / "pets.npz", **arrays())
    assert source_of(tmp_path, resolution=8).read().test.images.shape == (4, 1, 8, 8)


UNFIT = {
    "floats": (arrays(train_images=PIXELS["train"] / 255), "holds float64 numbers; uint8"),
    "one axis": (arrays(train_images=PIXELS["train"].reshape(-1)), "has the shape 120"),
    "no pixels": (arrays(train_images=PIXELS["train"][:, :0]), "has the shape 6x0x4"),
    "five channels": (arrays(train_images=np.zeros((6, 5, 4, 5), np.uint8)), "has the shape"),
    "fewer labels": (arrays(train_labels=LABELS["train"][:3]), "6 images, .* has 3 labels"),
    "one-hot": (arrays(train_labels=np.eye(3)[LABELS["train"]]), "one label for each image"),
    "shares": (arrays(train_labels=LABELS["train"] / 4), "labels are whole numbers or texts"),
    "one class": (arrays(train_labels=np.zeros(6, int)), "fewer than two classes"),
    "other class": (arrays(test_labels=np.array([0, 2, 2, 7])), 'the class "7", which has no'),
    "class missing": (arrays(test_labels=np.zeros(4, int)), 'class "2" of .* has no test images'),
    "other size": (arrays(test_images=PIXELS["test"][:, :2]), "have different sizes"),
    "no test": (arrays(test_images=None), "no arrays of test images and labels; it holds"),
    "only training labels": ({"train_labels": LABELS["train"]}, "no arrays of training images"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_unfit_arrays_are_refused_in_words(tmp_path, case):
    named, words = UNFIT[case]
    save(tmp_path / "pets.npz", **named)
    with pytest.raises(DataError, match=words) as caught:
        source_of(tmp_path).read()
    assert "pets.npz" in str(caught.value)


def test_colours_and_splits_that_do_not_fit_are_refused(tmp_path):
    save(tmp_path / "pets.npz", **arrays())
    with pytest.raises(DataError, match=r"is grey, but dataset\.color is rgb"):
        source_of(tmp_path, color="rgb").read()
    with pytest.raises(DataError, match="is split into training and test images already"):
        source_of(tmp_path, split=0.2)


def test_objects_are_never_unpickled(tmp_path):
    class Program:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    save(tmp_path / "pets.npz", **arrays(train_images=np.array([Program()], dtype=object)))
    with pytest.raises(DataError, match="train_images holds Python objects"):
        source_of(tmp_path)
    assert not (tmp_path / "executed").exists()


def npy(shape, content=b""):
    """Return an array of bytes in NumPy's format, whose header states a shape."""
    stream = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue() + content


def test_sizes_are_checked_before_memory_is_taken(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "pets.npz", "w") as archive:
        archive.writestr("train_images.npy", npy((10**12, 28, 28)))
    with pytest.raises(DataError, match="its size is not what its header states"):
        source_of(tmp_path)
    save(tmp_path / "pets.npz", **arrays())
    monkeypatch.setattr("ddspec.dsl.available_memory.available_memory", lambda: 10)
    with pytest.raises(MachineError, match="of memory"):
        source_of(tmp_path).read()


def test_damaged_files_pipes_and_a_choice_of_files_are_refused(tmp_path):
    save(tmp_path / "pets.npz", **arrays())
    whole = (tmp_path / "pets.npz").read_bytes()
    at = whole.index(b"NUMPY") + 200
    for content in (b"", b"PK", whole[:-30], whole[:at] + b"xx" + whole[at + 2 :]):
        (tmp_path / "pets.npz").write_bytes(content)
        with pytest.raises(DataError, match=r"pets\.npz"):
            source_of(tmp_path).read()
    with zipfile.ZipFile(tmp_path / "pets.npz", "w") as archive:
        archive.writestr("train_images.npy", b"nonsense")
    with pytest.raises(DataError, match="train_images is damaged"):
        source_of(tmp_path)
    (tmp_path / "pets.npz").unlink()
    os.mkfifo(tmp_path / "pets.npz")
    with pytest.raises(DataError, match="it is a pipe, not a regular file"):
        source_of(tmp_path)
    (tmp_path / "pets.npz").unlink()
    for name in "ab":
        save(tmp_path / "pets" / f"{name}.npz", **arrays())
    with pytest.raises(DataError, match=r"several \.npz files: a\.npz, b\.npz"):
        source_of(tmp_path)


def stl10_files(train=20, test=10):
    """Return a small STL-10 as {file name: bytes}."""
    files = {}
    for split, count in (("train", train), ("test", test)):
        files[f"{split}_X.bin"] = RANDOM.integers(0, 256, (count, 3, 96, 96), np.uint8).tobytes()
        files[f"{split}_y.bin"] = (np.arange(count) % 10 + 1).astype(np.uint8).tobytes()
    return files


def test_stl10_is_read_upright_with_its_class_names(tmp_path):
    files = stl10_files()
    names = "airplane bird car cat deer dog horse monkey ship truck".split()
    write_folder(tmp_path / "pets" / "stl10_binary", files)
    assert source_of(tmp_path).read().class_names == tuple(map(str, range(1, 11)))
    extra = {"class_names.txt": "\n".join(names).encode(), "unlabeled_X.bin": b""}
    write_folder(tmp_path / "pets" / "stl10_binary", extra)
    source = source_of(tmp_path)
    assert source.label == "pets/stl10_binary/"
    assert source.notes[1] == "unlabeled_X.bin was passed over"
    raw = source.read()
    assert raw.class_names == tuple(names)
    stored = np.frombuffer(files["train_X.bin"], np.uint8).reshape(-1, 3, 96, 96)
    assert np.array_equal(raw.train.images[1], stored[10].transpose(0, 2, 1))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"test_X.bin": None, "test_y.bin": None}, r"lacks test_X\.bin, test_y\.bin"),
        ({"train_X.bin": bytes(27_649)}, "no whole number of images"),
        ({"train_y.bin": bytes(20)}, "labels from -1 to -1"),
        ({"train_y.bin": b"\x0b" * 20}, "labels from 10 to 10"),
        ({"train_y.bin": b"\x01"}, "20 images, .* has 1 labels"),
        ({"class_names.txt": b"cat"}, "does not name 10 classes"),
    ],
)
def test_odd_stl10_is_refused_in_words(tmp_path, changes, words):
    files = stl10_files() | changes
    write_folder(
        tmp_path / "pets", {name: data for name, data in files.items() if data is not None}
    )
    with pytest.raises(DataError, match=words):
        source_of(tmp_path).read()
