"""Facts known about each dataset before its images are read: shapes, classes, statistics.

Means and standard deviations are per channel of the training set in [0, 1], and normalise the
images. CIFAR-100 has its own statistics here; the public code of trajectory matching gives it
those of CIFAR-10.
"""

from collections.abc import Mapping
from typing import Annotated, Any, get_args

from pydantic import Field, Strict, model_validator

from ddspec.dsl.document import Document
from ddspec.dsl.facts import class_names
from ddspec.dsl.spec.dataset import Dataset
from ddspec.dsl.terms import ImageNetSubset

Counts = Annotated[tuple[int, ...], Strict(False)]


class DatasetFacts(Document):
    """Shape and statistics of a dataset; with `fingerprint`, those of images that were read."""

    channels: int
    height: int
    width: int
    class_names: Annotated[tuple[str, ...], Strict(False)]
    train_per_class: Counts
    test_per_class: Counts
    validation_per_class: Counts = ()
    """Training images that are held out; `train_per_class` does not count them."""
    mean: Annotated[tuple[float, ...], Strict(False)]
    std: Annotated[tuple[float, ...], Strict(False)]
    fingerprint: str = Field("", pattern=r"^[0-9a-z]{0,64}$")
    """Hash of shapes, labels and pixels of all images of the source, in canonical order.

    It is empty before images are read."""

    @model_validator(mode="after")
    def counts_every_class(self) -> "DatasetFacts":
        """Check that there is a count per class, and a mean and a deviation per channel."""
        counts = (self.train_per_class, self.test_per_class, self.validation_per_class)
        if any(len(count) not in (0, len(self.class_names)) for count in counts):
            raise ValueError("the number of counts is not the number of classes")
        if not len(self.mean) == len(self.std) == self.channels:
            raise ValueError("the number of means or stds is not the number of channels")
        return self

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def train_count(self) -> int:
        """Images in the training set."""
        return sum(self.train_per_class)

    @property
    def test_count(self) -> int:
        """Images in the test set."""
        return sum(self.test_per_class)

    @property
    def validation_count(self) -> int:
        """Images that are held out."""
        return sum(self.validation_per_class)

    @property
    def text(self) -> str:
        """The numbers of images and classes in words."""
        held = f", {self.validation_count:,} validation" if self.validation_count else ""
        return (
            f"{self.train_count:,} training{held} and {self.test_count:,} test images "
            f"of {self.classes:,} class{'es' if self.classes > 1 else ''}"
        )


class FilesAccount(Document):
    """All files of a dataset kept as image files: how many are read, and why others are not."""

    files: int
    """Number of files in its folder, or of members in its zip files."""
    images: int
    """Number of files that are read as images."""
    passed_over: Mapping[str, int] = {}
    """Number of files that are not read, by the reason or by their suffix."""

    @model_validator(mode="after")
    def adds_up(self) -> "FilesAccount":
        """Check that every file is either read or passed over."""
        if self.files != self.images + sum(self.passed_over.values()):
            raise ValueError("files read and passed over are not all files")
        return self

    @property
    def text(self) -> str:
        """The files that are not read in words, the most frequent reasons first."""
        most_first = sorted(self.passed_over.items(), key=lambda item: (-item[1], item[0]))
        return ", ".join(f"{count:,} {reason}" for reason, count in most_first)


DIGITS_SPLIT_SEED = 0
"""Seed of the stratified split of scikit-learn's 1,797 digits into 1,347 and 450."""


def balanced_dataset(
    channels: int,
    side: int,
    names: tuple[str, ...],
    train: int,
    test: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> DatasetFacts:
    """Return the facts of square images with the same number in every class."""
    return DatasetFacts(
        channels=channels,
        height=side,
        width=side,
        class_names=names,
        train_per_class=(train,) * len(names),
        test_per_class=(test,) * len(names),
        mean=mean,
        std=std,
    )


IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
IMAGENET_SIDE, IMAGENET_TRAIN, IMAGENET_TEST = 128, 1300, 50
"""Default side length in pixels, and the largest number of images in a class."""

KNOWN: Mapping[str, DatasetFacts] = {
    "digits": DatasetFacts(
        channels=1,
        height=8,
        width=8,
        class_names=class_names.DIGITS,
        train_per_class=(133, 136, 133, 137, 136, 136, 136, 134, 131, 135),
        test_per_class=(45, 46, 44, 46, 45, 46, 45, 45, 43, 45),
        mean=(0.3052,),
        std=(0.3760,),
    ),
    "mnist": DatasetFacts(
        channels=1,
        height=28,
        width=28,
        class_names=class_names.DIGITS,
        train_per_class=(5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
        test_per_class=(980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009),
        mean=(0.1307,),
        std=(0.3081,),
    ),
    "fashion_mnist": balanced_dataset(
        1, 28, class_names.FASHION_MNIST, 6000, 1000, (0.2861,), (0.3530,)
    ),
    "svhn": DatasetFacts(
        channels=3,
        height=32,
        width=32,
        class_names=class_names.DIGITS,
        train_per_class=(4948, 13861, 10585, 8497, 7458, 6882, 5727, 5595, 5045, 4659),
        test_per_class=(1744, 5099, 4149, 2882, 2523, 2384, 1977, 2019, 1660, 1595),
        mean=(0.4377, 0.4438, 0.4728),
        std=(0.1980, 0.2010, 0.1970),
    ),
    "cifar10": balanced_dataset(
        3,
        32,
        class_names.CIFAR10,
        5000,
        1000,
        (0.4914, 0.4822, 0.4465),
        (0.2023, 0.1994, 0.2010),
    ),
    "cifar100": balanced_dataset(
        3,
        32,
        class_names.CIFAR100,
        500,
        100,
        (0.5071, 0.4866, 0.4409),
        (0.2673, 0.2564, 0.2762),
    ),
    "tiny_imagenet": balanced_dataset(
        3, 64, class_names.TINY_IMAGENET, 500, 50, IMAGENET_MEAN, IMAGENET_STD
    ),
    **{
        name: balanced_dataset(
            3,
            IMAGENET_SIDE,
            tuple(classes.values()),
            IMAGENET_TRAIN,
            IMAGENET_TEST,
            IMAGENET_MEAN,
            IMAGENET_STD,
        )
        for name, classes in class_names.IMAGENET.items()
    },
}
"""Datasets whose shape is known before they are read; a `folder` must be read first."""

COPIED_STATISTICS: Mapping[str, str] = {"cifar100": "cifar10"}
"""Datasets that the public code normalises by the statistics of another one."""


def side_of(dataset: Dataset) -> int | None:
    """Return the side length that images are resized to; None if they are not resized."""
    if dataset.resolution is None and dataset.name in get_args(ImageNetSubset):
        return IMAGENET_SIDE
    return dataset.resolution


def known_facts(dataset: Dataset) -> DatasetFacts | None:
    """Return the facts known about all images of a dataset before they are read."""
    known = KNOWN.get(dataset.name)
    side = side_of(dataset)
    if known is None or side is None:
        return known
    return known.model_copy(update={"height": side, "width": side})


def missing_facts(name: str, facts: DatasetFacts) -> str | None:
    """Return in words what a source lacks of the dataset; None if it is complete.

    The number of images of an ImageNet class is not known here.
    """
    known = KNOWN.get(name)
    if known is None:
        return None
    if facts.classes < known.classes:
        return f"{facts.classes} of the {known.classes} classes of {name} are present"
    if name in get_args(ImageNetSubset):
        return None
    for split in ("train", "test"):
        present, all_of_it = (sum(getattr(f, f"{split}_per_class")) for f in (facts, known))
        if present < all_of_it:
            return f"{present:,} of the {all_of_it:,} {split} images of {name} are present"
    return None


def other_split(name: str, facts: DatasetFacts) -> str | None:
    """Return in words how the split of a dataset is another one than the published; else None.

    Missing images are reported by `missing_facts`, except those to test on of ImageNet's
    subsets: other collections of these images, such as fastai's, test on more of them.
    """
    known = KNOWN.get(name)
    if known is None:
        return None
    for split, words in (("train", "training"), ("test", "test")):
        field = f"{split}_per_class"
        published = dict(zip(known.class_names, getattr(known, field), strict=True))
        counts = dict(zip(facts.class_names, getattr(facts, field), strict=True))
        usual = {name: published[name] for name in counts if name in published}
        is_exact = split == "test" and name in get_args(ImageNetSubset)
        if any(counts[each] > usual[each] or (is_exact and counts != usual) for each in usual):
            return (
                f"{sum(counts.values()):,} {words} images, "
                f"where the published split has {sum(usual.values()):,}"
            )
    return None


def prepared(facts: DatasetFacts, dataset: Dataset) -> DatasetFacts:
    """Return the facts of the images that a spec asks for, with its statistics.

    Classes that the source does not have are left out; a rule across keys reports them.
    """
    wanted = facts.class_names if dataset.classes is None else dataset.classes
    numbers = [facts.class_names.index(name) for name in wanted if name in facts.class_names]
    most = dataset.images_per_class
    counts = [min(facts.train_per_class[n], most or facts.train_per_class[n]) for n in numbers]
    held = [held_out(count, dataset.validation) for count in counts]
    seen: dict[str, Any] = {
        "class_names": tuple(facts.class_names[n] for n in numbers),
        "train_per_class": tuple(a - b for a, b in zip(counts, held, strict=True)),
        "test_per_class": tuple(facts.test_per_class[n] for n in numbers),
        "validation_per_class": tuple(held) if dataset.validation else (),
    }
    if dataset.statistics == "public_code" and dataset.name in COPIED_STATISTICS:
        taken = KNOWN[COPIED_STATISTICS[dataset.name]]
        seen |= {"mean": taken.mean, "std": taken.std}
    return facts.model_copy(update=seen)


def with_held_out(facts: DatasetFacts) -> DatasetFacts:
    """Return prepared facts with the held-out images back among those to train on.

    `prepared` gives the same facts again, as it did from those of all images.
    """
    if not facts.validation_per_class:
        return facts
    pairs = zip(facts.train_per_class, facts.validation_per_class, strict=True)
    whole = tuple(trained + held for trained, held in pairs)
    return facts.model_copy(update={"train_per_class": whole, "validation_per_class": ()})


def held_out(count: int, share: float) -> int:
    """Return how many images of a class are held out: the share, but at least one, if any."""
    return max(1, round(count * share)) if share else 0


def view_of(dataset: Dataset) -> dict[str, Any]:
    """Return the keys that choose among the images of a source, unless at their defaults."""
    keys = {"classes", "images_per_class", "validation", "split_seed"}
    return dataset.model_dump(mode="json", exclude_defaults=True, include=keys)
