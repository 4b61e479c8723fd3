"""An imported synthetic set as networks see it: in the space of the real images' pixels."""

import numpy as np

from ddspec.dsl.facts.datasets import DatasetFacts
from ddspec.dsl.record.synthetic_set import PixelSpace
from ddspec.dsl.spec.synthetic import Synthetic
from ddspec.dsl.terms import WHITENED
from ddspec.engine.stages.context import StageContext
from ddspec.engine.store.imported_set import Images, Labels, read_description, read_set
from ddspec.engine.store.trajectory_file import Array


def imported_arrays(name: str, context: StageContext) -> dict[str, Array]:
    """Return images, labels and, if the set brings one, student_lr, for the first synthetic set.

    Classes are numbered as the dataset numbers them.
    """
    described, images, labels = read_set(context.store, name)
    facts = context.facts
    if described.class_names:
        images, labels = in_class_order(images, labels, described.class_names, facts)
    arrays: dict[str, Array] = {
        "images": as_networks_see(images, described.pixels, facts),
        "labels": labels,
    }
    if described.student_lr is not None:
        arrays["student_lr"] = np.array(described.student_lr, dtype=np.float32)
    return arrays


def in_class_order(
    images: Images, labels: Labels, names: tuple[str, ...], facts: DatasetFacts
) -> tuple[Images, Labels]:
    """Return a set whose labels number the classes `names` with the labels of the dataset."""
    numbers = [names.index(name) for name in facts.class_names]
    ipc = len(images) // len(names)
    order = np.concatenate([np.arange(ipc) + number * ipc for number in numbers])
    if labels.ndim == 2:
        return images[order], np.ascontiguousarray(labels[order][:, numbers])
    return images[order], np.repeat(np.arange(len(names), dtype=np.int64), ipc)


def as_networks_see(images: Images, pixels: PixelSpace, facts: DatasetFacts) -> Images:
    """Return images as they are, if networks see them so, or else normalised by the dataset.

    Images that are normalised in the same way keep every bit.
    """
    if pixels.name in WHITENED.values() or (pixels.mean, pixels.std) == (facts.mean, facts.std):
        return images
    in_unit = images.astype(np.float64)
    if pixels.name == "normalized":
        in_unit = in_unit * per_channel(pixels.std) + per_channel(pixels.mean)
    normalised = (in_unit - per_channel(facts.mean)) / per_channel(facts.std)
    return normalised.astype(np.float32)


def per_channel(values: tuple[float, ...]) -> Array:
    """Return numbers per channel in a shape that fits images (n c h w)."""
    return np.array(values)[:, None, None]


def initial_lr(synthetic: Synthetic, context: StageContext) -> float:
    """Return the learning rate that distillation begins with: an imported set's, if it has one."""
    if synthetic.init.name == "imported":
        own = read_description(context.store, synthetic.init.set).student_lr
        if own is not None:
            return float(np.float32(own))
    return synthetic.student_lr.init
