"""Synthetic sets from elsewhere: every form is the same set, and nothing is guessed."""

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ddspec.dsl.diagnostics import DataError, DdspecError
from ddspec.dsl.facts import class_names
from ddspec.dsl.record.synthetic_set import ImportedSet
from ddspec.engine.exchange.import_set import SetOptions, import_set
from ddspec.engine.store.imported_set import read_description, read_set
from ddspec.engine.store.store import Store

PER_CLASS = 2


def a_set(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Images as networks see them, and their classes."""
    images = torch.randn(10 * PER_CLASS, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    return images, torch.arange(10).repeat_interleave(PER_CLASS)


def saved(folder: Path, name: str, content: Any) -> Path:
    path = folder / name
    torch.save(content, path)
    return path


def taken(
    folder: Path, *paths: Path, dataset: Any = "digits", pixels: Any = "normalized", **options: Any
) -> ImportedSet:
    """The set in these files, after import into a store."""
    asked = SetOptions(dataset=dataset, pixels=pixels, **options)
    return import_set(paths, asked, Store(folder / "store"))


def test_one_set_has_one_name_in_every_form_of_the_field(tmp_path):
    images, labels = a_set()
    trio = [
        saved(tmp_path, "images_best.pt", images),
        saved(tmp_path, "labels_best.pt", labels),
        saved(tmp_path, "lr_best.pt", torch.tensor(0.02)),
    ]
    by_name = {"image_syn": images, "label_syn": labels, "syn_lr": 0.02}
    np.savez(tmp_path / "set.npz", images=images, labels=labels, student_lr=0.02)
    accuracies = {"ConvNet": [np.float64(0.3), np.float32(0.2)]}
    of_dc = {"data": [[images, labels], [images + 1, labels]], "accs_all_exps": accuracies}
    shuffled = torch.randperm(20, generator=torch.Generator().manual_seed(1)).argsort(stable=True)
    mixed = {"images": images[shuffled], "labels": labels[shuffled], "lr": torch.tensor([0.02])}
    names = {
        taken(tmp_path, *trio).name,
        taken(tmp_path, *reversed(trio)).name,
        taken(tmp_path, saved(tmp_path, "set.pt", by_name)).name,
        taken(tmp_path, tmp_path / "set.npz").name,
        taken(tmp_path, saved(tmp_path, "data.pt", of_dc), number=0, lr=0.02).name,
        taken(tmp_path, saved(tmp_path, "pair.pt", [images, labels]), lr=0.02).name,
    }
    assert len(names) == 1
    described, kept_images, kept_labels = read_set(Store(tmp_path / "store"), names.pop())
    assert torch.equal(torch.from_numpy(kept_images), images)
    assert kept_labels.tolist() == labels.tolist()
    assert described.student_lr == np.float32(0.02)
    assert (described.ipc, described.classes, described.labels) == (PER_CLASS, 10, "hard")
    of_shuffled = taken(tmp_path, saved(tmp_path, "mixed.pt", mixed))
    assert read_set(Store(tmp_path / "store"), of_shuffled.name)[2].tolist() == labels.tolist()


def test_what_is_said_of_a_set_is_part_of_its_name_but_not_where_it_comes_from(tmp_path):
    images, labels = a_set()
    path = saved(tmp_path, "pair.pt", [images, labels])
    plain = taken(tmp_path, path)
    other_space = taken(tmp_path, path, mean=(0.5,), std=(0.5,))
    assert len({plain.name, other_space.name, taken(tmp_path, path, lr=0.1).name}) == 3
    told = taken(tmp_path, path, source="a colleague", iteration=7)
    assert told.name == plain.name
    kept = read_description(Store(tmp_path / "store"), plain.name)
    assert (kept.source, kept.iteration) == ("a colleague", 7)
    assert [file.name for file in kept.files] == ["pair.pt"]


def test_soft_labels_are_probabilities_or_said_to_be_logits(tmp_path):
    images, labels = a_set()
    logits = 5 * torch.nn.functional.one_hot(labels, 10).float() - 1
    path = saved(tmp_path, "pair.pt", [images, logits])
    with pytest.raises(DataError, match="rows sum to -5 to -5") as refused:
        taken(tmp_path, path)
    assert "--logits takes their softmax" in refused.value.hint
    from_logits = taken(tmp_path, path, logits=True)
    kept = read_set(Store(tmp_path / "store"), from_logits.name)[2]
    np.testing.assert_allclose(kept, logits.softmax(1), rtol=1e-6)
    shares = saved(tmp_path, "shares.pt", [images, logits.softmax(1)])
    assert taken(tmp_path, shares).labels == "soft"


def test_soft_labels_leave_an_image_in_its_place_though_another_class_has_more(tmp_path):
    """As DATM's learned labels may do for a few images."""
    images, labels = a_set()
    shares = (5 * torch.nn.functional.one_hot(labels, 10).float()).softmax(1)
    shares[[0, 4]] = shares[[4, 0]]
    made = taken(tmp_path, saved(tmp_path, "pair.pt", [images, shares]))
    kept = read_set(Store(tmp_path / "store"), made.name)
    assert torch.equal(torch.from_numpy(kept[1]), images)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(2))
    mixed = taken(tmp_path, saved(tmp_path, "mixed.pt", [images[order], shares[order]]))
    assert read_set(Store(tmp_path / "store"), mixed.name)[2].argmax(1).tolist() == labels.tolist()


def test_folder_of_images_is_a_set_of_pixels_in_the_unit_interval(tmp_path):
    for name in ("0000_0", "0001_1", "0009_9"):
        (tmp_path / "images" / name).mkdir(parents=True)
    draw = np.random.default_rng(0)
    pictures = {}
    for label in range(10):
        folder = tmp_path / "images" / f"{label:04d}_{label}"
        folder.mkdir(exist_ok=True)
        for number in range(PER_CLASS):
            pixels = draw.integers(0, 256, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
            pictures[label * PER_CLASS + number] = pixels
    made = taken(tmp_path, tmp_path / "images", pixels=None)
    assert (made.pixels.name, made.class_names, len(made.files)) == ("unit", (), 20)
    kept = read_set(Store(tmp_path / "store"), made.name)[1]
    np.testing.assert_allclose(kept[:, 0], np.stack([pictures[i] for i in range(20)]) / 255)


def test_order_of_the_classes_can_be_another_than_the_datasets(tmp_path):
    images, labels = a_set()
    path = saved(tmp_path, "pair.pt", [images, labels])
    order = tuple("9876543210")
    assert taken(tmp_path, path, class_order=order).class_names == order
    with pytest.raises(DataError, match='"cat" is not a class of digits'):
        taken(tmp_path, path, class_order=("cat", *order[1:]))
    with pytest.raises(DataError, match="named twice"):
        taken(tmp_path, path, class_order=("9", *order[:9]))


def test_statistics_of_the_public_code_are_those_of_another_dataset(tmp_path):
    images, labels = torch.randn(100, 3, 32, 32), torch.arange(100)
    path = saved(tmp_path, "pair.pt", [images, labels])
    own = taken(tmp_path, path, dataset="cifar100")
    public = taken(tmp_path, path, dataset="cifar100", statistics="public_code")
    assert own.pixels.mean[0] == pytest.approx(0.5071)
    assert public.pixels.mean[0] == pytest.approx(0.4914)
    assert class_names.CIFAR100  # both are read against the hundred classes


IMAGES, LABELS = a_set()
SHIFTED = IMAGES.abs() / (1 + IMAGES.abs())


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        ([IMAGES, LABELS], {"pixels": None}, "nothing says what they are"),
        ([IMAGES, LABELS], {"pixels": "unit"}, r"which are not pixels in \[0, 1\]"),
        ([SHIFTED, LABELS], {"pixels": "whitened"}, r"not whitened, but in \[0, 1\]"),
        ([IMAGES, LABELS], {"mean": (0.1, 0.2), "std": (1.0, 1.0)}, "has 2 numbers, but images"),
        ([IMAGES, LABELS], {"mean": (0.1,), "std": (0.0,)}, "std above 0"),
        ([IMAGES, LABELS], {"lr": -1.0}, "is not a positive number"),
        ([IMAGES, LABELS], {"logits": True}, "not logits"),
        ([IMAGES, LABELS], {"dataset": "cifar10"}, "3 channels and 32x32 pixels"),
        ([IMAGES.permute(0, 2, 3, 1).contiguous(), LABELS], {}, "with the channels last"),
        ([IMAGES * float("nan"), LABELS], {}, "not finite"),
        ([IMAGES[:19], LABELS[:19]], {}, "class 9 has 1 images, but class 0 has 2"),
        ([IMAGES[:9], LABELS], {}, "there are 9 images, but 20 labels"),
        ([IMAGES, LABELS + 1], {}, "there is a label 10"),
        ([IMAGES, LABELS - 1], {}, "neither numbers of classes"),
        ([IMAGES, torch.rand(20, 7)], {}, "the labels have 7 classes, but digits has 10"),
        ([IMAGES, torch.full((20, 10), float("inf"))], {}, "not finite"),
        ([IMAGES.to(torch.complex64), LABELS], {}, "not a plain array|not of real numbers"),
        ([IMAGES[:0], LABELS[:0]], {}, "shape"),
        ({"images": IMAGES}, {}, "of which classes the 20 images are"),
        ({"labels": LABELS}, {}, "contain no images"),
        ({"weights": IMAGES}, {}, "none of its names is known"),
        ({"images": [1, 2], "labels": LABELS}, {}, "its images are a list of 2 values"),
        ({"images": IMAGES, "labels": LABELS, "lr": "fast"}, {}, "not one number"),
        ({"data": [[IMAGES, LABELS]] * 3}, {}, "it holds 3 sets"),
        ({"data": [[IMAGES, LABELS]]}, {"number": 4}, "it has no set 4"),
        ({"data": [IMAGES]}, {}, "not a list of pairs"),
        ([[IMAGES, LABELS]], {}, "a list of 1 values, not images"),
        ([IMAGES, LABELS], {"source": "SRe2L, official"}, "networks of SRe2L are taught by labels"),
        ([IMAGES, LABELS], {"dataset": "folder"}, "give --mean and --std|not known beforehand"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_stored(tmp_path, content, options, words):
    path = saved(tmp_path, "set.pt", content)
    with pytest.raises(DataError, match=words):
        taken(tmp_path, path, **options)
    assert not list((tmp_path / "store").rglob("*.h5"))


def test_set_of_a_method_with_a_teacher_is_judged_by_fixed_labels_if_asked(tmp_path):
    path = saved(tmp_path, "set.pt", [IMAGES, LABELS])
    assert taken(tmp_path, path, source="RDED", fixed_labels=True).source == "RDED"


class Wicked:
    def __reduce__(self):
        return (Path.touch, (Path("touched"),))


def test_strangers_files_are_refused_in_words_and_nothing_in_them_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for content in (
        Wicked(),
        {"images": IMAGES, "labels": Wicked()},
        [IMAGES, torch.zeros(1).expand(10**9)],
        torch.zeros(1).expand(10**5, 10**3, 10, 10),
        [IMAGES.to_sparse(), LABELS],
        [torch.zeros(20, 1, 8, 8, device="meta"), LABELS],
    ):
        with pytest.raises(DdspecError):
            taken(tmp_path, saved(tmp_path, "set.pt", content))
    for raw in (
        b"",
        b"\x80\x04.",
        pickle.dumps(Wicked()),
        b"PK\x03\x04" + b"\x00" * 50,
        b"\x89HDF",
    ):
        for suffix in (".pt", ".npz", ".h5"):
            (tmp_path / f"raw{suffix}").write_bytes(raw)
            with pytest.raises(DdspecError):
                taken(tmp_path, tmp_path / f"raw{suffix}")
    np.savez(tmp_path / "objects.npz", images=np.array([Wicked()], dtype=object))
    with pytest.raises(DataError, match="Python objects"):
        taken(tmp_path, tmp_path / "objects.npz")
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            head, {"descr": "<f4", "fortran_order": False, "shape": (10**9, 1, 8, 8)}
        )
        archive.writestr("images.npy", head.getvalue() + bytes(10**7))
    with pytest.raises(DdspecError):
        taken(tmp_path, tmp_path / "bomb.npz")
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "none.pt", tmp_path / "none.npz"):
        with pytest.raises(DdspecError):
            taken(tmp_path, path)
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"images": np.array(["a"])}, "its images are an array of type"),
        ({"labels": np.array(["a"] * 20)}, "its labels are an array of type"),
        ({"labels": np.array(3)}, "the labels have shape"),
        ({"labels": np.zeros((20, 2, 2))}, "the labels have shape"),
        ({"labels": np.full(20, np.inf)}, "neither numbers of classes"),
        ({"student_lr": np.ones(3)}, "not one number"),
    ],
)
def test_arrays_that_cannot_be_a_set_are_refused_in_words(tmp_path, arrays, words):
    np.savez(tmp_path / "set.npz", **({"images": IMAGES, "labels": LABELS} | arrays))
    with pytest.raises(DataError, match=words):
        taken(tmp_path, tmp_path / "set.npz")


@pytest.mark.parametrize("rate", [10**400, [0.1, 0.2]])
def test_learning_rate_that_is_not_one_float_is_refused(tmp_path, rate):
    path = saved(tmp_path, "set.pt", {"images": IMAGES, "labels": LABELS, "lr": rate})
    with pytest.raises(DataError, match="not one number"):
        taken(tmp_path, path)


def test_numbers_of_numpy_are_read_without_numpys_own_functions(tmp_path):
    """A type of a gigabyte, or of Python objects, is none of a number."""
    for number in (np.zeros(1, dtype="V9")[0], np.array([Wicked()], dtype=object)[0]):
        with pytest.raises(DataError):
            taken(tmp_path, saved(tmp_path, "set.pt", {"images": IMAGES, "lr": number}))
