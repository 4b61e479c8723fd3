"""What is known of each dataset before its images are read: shapes, classes, statistics.

Means and standard deviations are per channel of the training set in [0, 1], and normalise the
images. CIFAR-100 has its own statistics here; the public code of trajectory matching gives it
those of CIFAR-10.
"""

from collections.abc import Mapping
from typing import Annotated, assert_never

from pydantic import Strict

from ddspec.dsl.document import Document
from ddspec.dsl.terms import DatasetName, Statistics


class DatasetFacts(Document):
    """Shape and statistics of a dataset; with `fingerprint`, of the images that were read."""

    channels: int
    height: int
    width: int
    class_names: Annotated[tuple[str, ...], Strict(False)]
    train_per_class: Annotated[tuple[int, ...], Strict(False)]
    test_per_class: Annotated[tuple[int, ...], Strict(False)]
    mean: Annotated[tuple[float, ...], Strict(False)]
    std: Annotated[tuple[float, ...], Strict(False)]
    fingerprint: str = ""
    """Hash of shapes, labels and pixels in canonical order; empty before images are read."""

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


CIFAR10_CLASSES = tuple("airplane automobile bird cat deer dog frog horse ship truck".split())

CIFAR100_CLASSES = tuple(
    """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus
    butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch
    crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo
    keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse
    mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy
    porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper
    snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television
    tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
    """.split()
)

DIGITS_SPLIT_SEED = 0
"""Seed of the stratified split of scikit-learn's 1,797 digits into 1,347 and 450."""

KNOWN: Mapping[DatasetName, DatasetFacts] = {
    "digits": DatasetFacts(
        channels=1,
        height=8,
        width=8,
        class_names=tuple("0123456789"),
        train_per_class=(133, 136, 133, 137, 136, 136, 136, 134, 131, 135),
        test_per_class=(45, 46, 44, 46, 45, 46, 45, 45, 43, 45),
        mean=(0.3052,),
        std=(0.3760,),
    ),
    "cifar10": DatasetFacts(
        channels=3,
        height=32,
        width=32,
        class_names=CIFAR10_CLASSES,
        train_per_class=(5000,) * 10,
        test_per_class=(1000,) * 10,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2023, 0.1994, 0.2010),
    ),
    "cifar100": DatasetFacts(
        channels=3,
        height=32,
        width=32,
        class_names=CIFAR100_CLASSES,
        train_per_class=(500,) * 100,
        test_per_class=(100,) * 100,
        mean=(0.5071, 0.4866, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
    ),
}
"""Datasets whose shape is known without reading them; a `folder` is known when it was read."""

COPIED_STATISTICS: Mapping[DatasetName, DatasetName] = {"cifar100": "cifar10"}
"""Datasets that the public code normalises by another one's statistics."""


def prepared(facts: DatasetFacts, name: DatasetName, statistics: Statistics) -> DatasetFacts:
    """The facts with the means and standard deviations that a spec asks for."""
    match statistics:
        case "own":
            return facts
        case "public_code":
            taken = KNOWN[COPIED_STATISTICS[name]]
            return facts.model_copy(update={"mean": taken.mean, "std": taken.std})
        case _:
            assert_never(statistics)
