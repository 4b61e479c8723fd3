"""The table [dataset]: the real images, and how they are prepared for the networks."""

from typing import Annotated, Literal

from ddspec.dsl.digest import DIGEST
from ddspec.dsl.document import Document
from ddspec.dsl.keys.declare import DDSPEC, MOST, MTT, SEED_LIMIT, Tuple, key
from ddspec.dsl.keys.extension import CODE_WORDS, OWNED_WORDS, ExtensionReader, OwnedName
from ddspec.dsl.terms import AlphaName, ColorName, DatasetName, Fit, Statistics, WhiteningForm


def zca_key(form: WhiteningForm | None) -> bool | str:
    """Return the value of the key zca that asks for a form of whitening."""
    return form is not None if form in (None, "mtt") else form


class Dataset(Document):
    """The real images. Where they lie is not part of a spec: see --data and $DDSPEC_DATA."""

    name: DatasetName | OwnedName = key(source=DDSPEC, pattern_words=OWNED_WORDS)
    """Name of the dataset; `folder` is a folder with your own images; `mylab/pets` is read
    as an installed extension does, from the folder `root` or else `pets`."""
    version: str | None = key(None, source=DDSPEC, min_length=1, max_length=100)
    """For a dataset of an extension: version of the package. If absent, the installed
    one; another one than is installed is refused."""
    code: str | None = key(None, source=DDSPEC, pattern=DIGEST, pattern_words=CODE_WORDS)
    """For a dataset of an extension: hash of the package's files. If absent, that of the
    installed ones; any other is refused."""
    root: str | None = key(None, source=DDSPEC, min_length=1, max_length=200)
    """For `folder`, and for a dataset of an extension: the name of the dataset's folder or
    archive, below the data folder. For `folder`, read are folders or zip files
    (train/CLASS/FILE, test/CLASS/FILE), image files with a table of labels (CSV, TSV),
    .npz files, STL-10's binary files, tar shards of the webdataset kind, and parquet
    files (with the extra ddspec[parquet])."""
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
    zca: bool | Literal["frepo", "kip"] = key(False, source=MTT, pattern_words="true or false")
    """Whiten the images (ZCA) instead of normalising them by channel: `true` as MTT does,
    on pixels in [0, 1] and regularised by 0.1; `"frepo"` on pixels over the standard
    deviation of their channel, and `"kip"` on images less their own mean and scaled to
    norm 1 (KIP, RaT-BPTT), both regularised by 0.1 of the mean eigenvalue."""

    @property
    def whitening(self) -> WhiteningForm | None:
        """The form of whitening; None if the images are normalised by channel."""
        if isinstance(self.zca, bool):
            return "mtt" if self.zca else None
        return self.zca

    @property
    def reader(self) -> ExtensionReader | None:
        """The extension's reader of the dataset; None for a dataset of the language."""
        if "/" not in self.name:
            return None
        return ExtensionReader(name=self.name, version=self.version, code=self.code)
