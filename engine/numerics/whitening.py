"""ZCA whitening of images: fitted on the training set's pixels in [0, 1], and inverted.

With S = U diag(s) U' the covariance of the flattened images, the forward transform is

    (x - mean) U diag(1 / sqrt(s + epsilon)) U'

and the inverse has sqrt(s + epsilon) in its place. Whitening replaces the normalisation by
channel. The public code of trajectory matching fits it anew in each run, with epsilon 0.1 (MTT,
arXiv:2203.11932), and does not store it.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

CHUNK = 2048
"""Images that are added to the covariance at once; it bounds the memory in float64."""


@dataclass(frozen=True)
class Whitening:
    """A fitted ZCA transform of flattened images with d pixels."""

    mean: Float[np.ndarray, " d"]
    values: Float[np.ndarray, " d"]
    """Eigenvalues of the covariance."""
    vectors: Float[np.ndarray, "d d"]
    """Eigenvectors of the covariance, one per column."""
    epsilon: float

    def forward_matrix(self) -> Float[np.ndarray, "d d"]:
        """Return the matrix that whitens centred, flattened images."""
        scale = 1 / np.sqrt(self.values + self.epsilon)
        return (self.vectors * scale.astype(np.float32)) @ self.vectors.T

    def invert(self, images: Float[np.ndarray, "n c h w"]) -> Float[np.ndarray, "n c h w"]:
        """Map whitened images back to pixel space, without clipping to [0, 1]."""
        # Two products: for few images the full inverse matrix costs more than it saves.
        rotated = images.reshape(len(images), -1) @ self.vectors
        rotated *= np.sqrt(self.values + self.epsilon).astype(np.float32)
        back = rotated @ self.vectors.T + self.mean.astype(np.float32)
        return np.asarray(back, dtype=np.float32).reshape(images.shape)


def fit_whitening(images: NDArray[np.uint8], white: int, epsilon: float) -> Whitening:
    """Fit the transform to images in bytes (n c h w); the byte value `white` means 1."""
    flat = images.reshape(len(images), -1)
    mean = flat.mean(axis=0, dtype=np.float64) / white
    covariance = np.zeros((flat.shape[1], flat.shape[1]))
    for first in range(0, len(flat), CHUNK):
        centred = flat[first : first + CHUNK].astype(np.float64) / white - mean
        covariance += centred.T @ centred
    values, vectors = np.linalg.eigh(covariance / (len(flat) - 1))
    # Rounding makes eigenvalues of zero slightly negative.
    return Whitening(mean, np.maximum(values, 0.0), vectors.astype(np.float32), epsilon)
