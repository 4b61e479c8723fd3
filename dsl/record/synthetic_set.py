"""What a record says of synthetic images and labels."""

from typing import Annotated, Literal

from pydantic import Field, Strict

from ddspec.dsl.digest import DIGEST
from ddspec.dsl.document import Document, Texts
from ddspec.dsl.keys.extension import OwnedName
from ddspec.dsl.record.series import Number, Numbers, WholeNumbers
from ddspec.dsl.terms import DatasetName, PixelSpaceName


class SetExtremes(Document):
    """The extremes of a synthetic set."""

    lowest_pixel: Number
    """In standard deviations of the real images, as networks see them; whitened with ZCA."""
    highest_pixel: Number
    least_certain_label: Number | None = None
    """Smallest over the images of the largest probability in a learned label; None if labels are
    not learned."""


class SoftLabels(Document):
    """The mean soft label of the images of each class, by its two largest shares."""

    own: Numbers
    """Mean probability of the class itself."""
    other: WholeNumbers
    """The class with the largest mean probability besides."""
    other_share: Numbers
    """That probability."""


class ClassLosses(Document):
    """The part of each class in the matching loss, of objectives that compare classes."""

    iteration: int
    """Number of iterations after which it was measured: that of the synthetic set."""
    values: Numbers
    """Mean over the pixel steps of the last iteration, in the order of the classes."""


class ClusterPicture(Document):
    """k-means in one class, in two principal components of the features (AST, Fig. 10)."""

    label: int
    x: Numbers
    y: Numbers
    cluster: WholeNumbers
    chosen: WholeNumbers
    """Positions of the images that initialisation took."""


class ImageSheet(Document):
    """A PNG of synthetic images in full size: a row per class, a column per image."""

    file: str
    """Its name in the run's images/ folder."""
    iteration: int
    rows: int
    columns: int
    image_height: int
    image_width: int


class PixelSpace(Document):
    """What the numbers of a set's pixels are."""

    name: PixelSpaceName
    """`unit`: in [0, 1]; `normalized` by channel; `whitened` by ZCA of the training images,
    as in MTT, or in the form of FRePo or KIP."""
    mean: Numbers = ()
    """Per channel, of pixels in [0, 1], if they are normalised; likewise the next."""
    std: Numbers = ()

    @property
    def text(self) -> str:
        """The space in words."""
        match self.name:
            case "unit":
                return "in [0, 1]"
            case "whitened":
                return "whitened by ZCA, regularised by 0.1"
            case "whitened_frepo":
                return "whitened by ZCA as in FRePo"
            case "whitened_kip":
                return "whitened by ZCA as in KIP"
            case "normalized":
                mean, std = (", ".join(f"{v:.4g}" for v in part) for part in (self.mean, self.std))
                return f"normalised by mean {mean} and standard deviation {std}"


class SetFile(Document):
    """A file that an imported set was read from."""

    name: str
    sha256: str


class ImportedSet(Document):
    """A synthetic set that was made elsewhere; what it is names it, not where it comes from."""

    name: str = Field(pattern=DIGEST)
    """Hash of images, labels, and how they are to be understood."""
    dataset: DatasetName | OwnedName
    classes: int
    ipc: int
    """Images per class."""
    channels: int
    height: int
    width: int
    pixels: PixelSpace
    labels: Literal["hard", "soft"]
    class_names: Texts = ()
    """Classes in the order of their labels; empty if it is that of the dataset."""
    student_lr: Number | None = None
    """Learning rate that comes with the set."""
    images_sha256: str
    labels_sha256: str
    files: Annotated[tuple[SetFile, ...], Strict(False)] = ()
    iteration: int = Field(0, ge=0)
    """Iteration of the run of ddspec that made it; 0 if that is not known."""
    partition: int = Field(1, ge=1)
    """f, if ddspec stored f x f of the images in the room of one."""
    source: str = ""
    """Where the set comes from, in the words of whoever imported it."""
