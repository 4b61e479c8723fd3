"""The table [dataset]: the real images, and how they are prepared for the networks."""

from typing import Annotated

from ddspec.dsl.document import Document
from ddspec.dsl.spec.declare import DDSPEC, MOST, MTT, SEED_LIMIT, Tuple, key
from ddspec.dsl.terms import AlphaName, ColorName, DatasetName, Fit, Statistics


class Dataset(Document):
    """The real images. Where they lie is not part of a spec: see --data and $DDSPEC_DATA."""

    name: DatasetName = key(source=DDSPEC)
    """Name of the dataset; `folder` is a folder with your own images."""
    root: str | None = key(None, source=DDSPEC, min_length=1, max_length=200)
    """For `folder`: the name of the dataset's folder or archive, below the data folder.
    Read are folders or zip files (train/CLASS/FILE, test/CLASS/FILE), image files with a
    table of labels (CSV, TSV), .npz files, STL-10's binary files, tar shards of the
    webdataset kind, and parquet files (with the extra ddspec[parquet])."""
    color: ColorName = key("auto", source=DDSPEC)
    """For `folder`: `rgb`, `grey`, or `auto`, which is grey if every image is grey.
    Images with a palette get its colours."""
    split: float | None = key(None, source=DDSPEC, ge=0.01, le=0.9)
    """For `folder`, if it has no split into training and test images, or labels for the
    training images alone: the share of each class's images that is drawn to test on,
    rounded, but at least one."""
    alpha: AlphaName = key("refuse", source=DDSPEC)
    """For `folder`: the background behind transparent images, `white` or `black`;
    `refuse` stops with the name of a transparent image."""
    resolution: int | None = key(None, source=DDSPEC, ge=4, le=1024)
    """Side in pixels to which images are resized (antialiased). If absent, images keep
    their size, except that those of the ImageNet subsets become 128x128."""
    fit: Fit = key("crop", source=DDSPEC)
    """How images that are not square are resized: `crop` cuts out the middle square,
    `stretch` distorts the image."""
    classes: Annotated[tuple[str, ...], Tuple] | None = key(None, source=DDSPEC, min_length=2)
    """Classes to use, in the order of their labels. If absent, all classes."""
    images_per_class: int | None = key(None, source=DDSPEC, ge=2, le=MOST)
    """Number of training images used of each class, the first ones. If absent, all."""
    validation: float = key(0.0, source=DDSPEC, ge=0.0, le=0.5)
    """Share of each class's training images that is held out, to choose the best
    synthetic set by."""
    split_seed: int = key(0, source=DDSPEC, ge=0, le=SEED_LIMIT)
    """Seed that decides which images are held out, and which `split` draws to test on."""
    statistics: Statistics = key("own", source=DDSPEC)
    """Channel means and standard deviations that normalise the images: the dataset's
    own (`own`), or those in the public code of trajectory matching (`public_code`),
    which uses CIFAR-10's for CIFAR-100."""
    zca: bool = key(False, source=MTT)
    """Whiten the images (ZCA on pixels in [0, 1], regularised by 0.1) instead of
    normalising them by channel."""
