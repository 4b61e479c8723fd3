"""The table `dataset`: which real images, and how they are prepared for the networks."""

from typing import Annotated

from ddspec.dsl.document import Document
from ddspec.dsl.spec.declare import DDSPEC, MOST, MTT, SEED_LIMIT, Tuple, key
from ddspec.dsl.terms import AlphaName, ColorName, DatasetName, Fit, Statistics


class Dataset(Document):
    """The real images. Their folder is not part of the experiment: --data or $DDSPEC_DATA."""

    name: DatasetName = key(source=DDSPEC)
    """The dataset; `folder` is an image folder of your own."""
    root: str | None = key(None, source=DDSPEC, min_length=1, max_length=200)
    """For `folder`: its name below the data folder."""
    color: ColorName = key("auto", source=DDSPEC)
    """For `folder`: `rgb`, `grey`, or `auto`: grey if every image is. Palettes become colors."""
    alpha: AlphaName = key("refuse", source=DDSPEC)
    """For `folder`: the background that transparent images are laid on; `refuse` names them."""
    resolution: int | None = key(None, source=DDSPEC, ge=4, le=1024)
    """Pixels a side that images are resized to (antialiased); left out they stay as they are, but
    images of the ImageNet subsets become 128x128."""
    fit: Fit = key("crop", source=DDSPEC)
    """Where a resolution is asked of images that are not square: `crop` cuts out the middle,
    `stretch` distorts."""
    classes: Annotated[tuple[str, ...], Tuple] | None = key(None, source=DDSPEC, min_length=2)
    """The classes to use, in the order of their labels; left out, all."""
    images_per_class: int | None = key(None, source=DDSPEC, ge=2, le=MOST)
    """Training images of each class that are used, the first ones; left out, all."""
    validation: float = key(0.0, source=DDSPEC, ge=0.0, le=0.5)
    """Share of each class's training images that is held out to choose the best iterate."""
    split_seed: int = key(0, source=DDSPEC, ge=0, le=SEED_LIMIT)
    """Seed of the choice of the images that are held out."""
    statistics: Statistics = key("own", source=DDSPEC)
    """Channel means and standard deviations that normalise the images: the dataset's own, or those
    of the public code of trajectory matching, which gives CIFAR-100 the ones of CIFAR-10."""
    zca: bool = key(False, source=MTT)
    """Whiten the images (ZCA on pixels in [0, 1], regularised by 0.1) instead of normalising them
    by channel."""
