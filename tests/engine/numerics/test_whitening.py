"""ZCA against an eigendecomposition written out in NumPy, and its inverse."""

import numpy as np
import pytest

from ddspec.engine.numerics.whitening import CHUNK, fit_whitening

EPSILON = 0.1


@pytest.fixture(scope="module")
def images():
    """More images than are summed at once, of correlated pixels."""
    draw = np.random.default_rng(0)
    base = draw.integers(0, 200, size=(CHUNK + 300, 1, 1, 1))
    return (base + draw.integers(0, 56, size=(CHUNK + 300, 3, 4, 4))).astype(np.uint8)


def test_whitening_is_the_eigendecomposition_of_the_covariance(images):
    whitening = fit_whitening(images, 255, EPSILON)
    flat = images.reshape(len(images), -1) / 255
    centred = flat - flat.mean(0)
    values, vectors = np.linalg.eigh(np.cov(centred, rowvar=False))
    expected = centred @ vectors @ np.diag((values + EPSILON) ** -0.5) @ vectors.T
    ours = (flat - whitening.mean) @ whitening.forward_matrix()
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_inverse_returns_the_image(images):
    whitening = fit_whitening(images, 255, EPSILON)
    flat = images.reshape(len(images), -1) / 255
    white = ((flat - whitening.mean) @ whitening.forward_matrix()).astype(np.float32)
    back = whitening.invert(white.reshape(images.shape))
    np.testing.assert_allclose(back, images / 255, atol=1e-4)


def test_pixel_that_never_changes_is_kept():
    images = np.zeros((5, 1, 2, 2), dtype=np.uint8)
    images[:, 0, 0, 0] = [0, 50, 100, 150, 200]
    whitening = fit_whitening(images, 200, EPSILON)
    assert np.isfinite(whitening.forward_matrix()).all()
    white = (images.reshape(5, -1) / 200 - whitening.mean) @ whitening.forward_matrix()
    np.testing.assert_allclose(white[:, 1:], 0, atol=1e-6)
