"""ZCA whitening of images in the field's three forms: fitted on the training images, and inverted.

With S = U diag(s) U' a covariance of the prepared, flattened images, the forward transform is

    (x - mean) U diag(1 / sqrt(s + epsilon)) U'

and the inverse has sqrt(s + epsilon) in its place. What is prepared, and epsilon, differ:

| form | images x | mean | covariance | epsilon |
|---|---|---|---|---|
| mtt | pixels in [0, 1] | of each pixel | 1 / (n - 1) | 0.1 |
| frepo | pixels over their channel's deviation | of each pixel | 1 / n | 0.1 of mean(s) |
| kip | images less their own mean, of norm 1 | zero | 1 / n | 0.1 of mean(s) |

MTT (arXiv:2203.11932) and all of its family use the first, FRePo (arXiv:2206.00719) the second, KIP
(arXiv:2107.13034) and RaT-BPTT (arXiv:2311.07025) the third. The public code of trajectory matching
fits the whitening anew in each run, and does not store it.
"""

from dataclasses import dataclass
from typing import assert_never

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from ddspec.dsl.terms import WhiteningForm

CHUNK = 2048
"""Images that are added to the covariance at once; it bounds the memory in float64."""

ZCA_EPSILON = 0.1
"""Regularisation of the whitening in all public code; absolute, or of the mean eigenvalue."""


@dataclass(frozen=True)
class Whitening:
    """A fitted ZCA transform of flattened images with d pixels."""

    mean: Float[np.ndarray, " d"]
    values: Float[np.ndarray, " d"]
    """Eigenvalues of the covariance."""
    vectors: Float[np.ndarray, "d d"]
    """Eigenvectors of the covariance, one per column."""
    epsilon: float
    scale: Float[np.ndarray, " d"] | None = None
    """What each pixel is divided by, after its mean is subtracted (FRePo)."""
    contrast: Float[np.ndarray, "2"] | None = None
    """Mean over the training images of their norm and of their own mean, if these are taken out of
    each image (KIP); the inverse gives every image these."""

    def forward_matrix(self) -> Float[np.ndarray, "d d"]:
        """Return the matrix that whitens centred, flattened images."""
        scale = 1 / np.sqrt(self.values + self.epsilon)
        matrix = (self.vectors * scale.astype(np.float32)) @ self.vectors.T
        if self.scale is not None:
            matrix = (matrix / self.scale[:, None]).astype(np.float32)
        return matrix

    @property
    def standardises(self) -> bool:
        """Whether every image loses its own mean and norm first."""
        return self.contrast is not None

    def invert(self, images: Float[np.ndarray, "n c h w"]) -> Float[np.ndarray, "n c h w"]:
        """Map whitened images back to pixel space, without clipping to [0, 1].

        Images that lost their own mean and norm get those of an average image.
        """
        # Two products: for few images the full inverse matrix costs more than it saves.
        rotated = images.reshape(len(images), -1) @ self.vectors
        rotated *= np.sqrt(self.values + self.epsilon).astype(np.float32)
        back = rotated @ self.vectors.T
        if self.scale is not None:
            back *= self.scale.astype(np.float32)
        if self.contrast is not None:
            norm, level = self.contrast.astype(np.float32)
            back = back * norm + level
        back = back + self.mean.astype(np.float32)
        return np.asarray(back, dtype=np.float32).reshape(images.shape)


def standardised(flat: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    """Return images less their own mean, scaled to norm 1; an image of one value becomes zero."""
    centred = flat - flat.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(centred / np.where(norms > 0, norms, 1))


def fit_whitening(
    images: NDArray[np.uint8],
    white: int,
    form: WhiteningForm = "mtt",
    std: tuple[float, ...] = (),
) -> Whitening:
    """Fit the transform to images in bytes (n c h w); the byte value `white` means 1.

    `std` are the channels' standard deviations, which form `frepo` divides by.
    """
    flat = images.reshape(len(images), -1)
    mean = flat.mean(axis=0, dtype=np.float64) / white
    scale = contrast = None
    match form:
        case "mtt":
            pass
        case "frepo":
            scale = np.repeat(np.array(std), images.shape[2] * images.shape[3])
        case "kip":
            mean, contrast = np.zeros_like(mean), mean_contrast(flat, white)
        case _:
            assert_never(form)
    covariance = np.zeros((flat.shape[1], flat.shape[1]))
    for first in range(0, len(flat), CHUNK):
        chunk = flat[first : first + CHUNK].astype(np.float64) / white
        if contrast is not None:
            chunk = standardised(chunk)
        centred = chunk - mean if scale is None else (chunk - mean) / scale
        covariance += centred.T @ centred
    count = len(flat) - 1 if form == "mtt" else len(flat)
    values, vectors = np.linalg.eigh(covariance / count)
    # Rounding makes eigenvalues of zero slightly negative.
    values = np.maximum(values, 0.0)
    epsilon = ZCA_EPSILON if form == "mtt" else ZCA_EPSILON * float(values.mean())
    return Whitening(mean, values, vectors.astype(np.float32), epsilon, scale, contrast)


def mean_contrast(flat: NDArray[np.uint8], white: int) -> Float[np.ndarray, "2"]:
    """Return the mean norm of the centred images and their mean level, in pixels of [0, 1]."""
    norms, levels = 0.0, 0.0
    for first in range(0, len(flat), CHUNK):
        chunk = flat[first : first + CHUNK].astype(np.float64) / white
        level = chunk.mean(1, keepdims=True)
        norms += float(np.linalg.norm(chunk - level, axis=1).sum())
        levels += float(level.sum())
    return np.array([norms, levels]) / len(flat)
