"""What a record says of synthetic images and labels."""

from ddspec.dsl.document import Document
from ddspec.dsl.record.series import Number, Numbers, WholeNumbers


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
