"""ZCA against an eigendecomposition written out in NumPy, and its inverse."""

import numpy as np
import pytest

from ddspec.engine.numerics.whitening import CHUNK, fit_whitening, standardised

EPSILON = 0.1


@pytest.fixture(scope="module")
def images():
    """More images than are summed at once, of correlated pixels."""
    draw = np.random.default_rng(0)
    base = draw.integers(0, 200, size=(CHUNK + 300, 1, 1, 1))
    return (base + draw.integers(0, 56, size=(CHUNK + 300, 3, 4, 4))).astype(np.uint8)


def test_whitening_is_the_eigendecomposition_of_the_covariance(images):
    whitening = fit_whitening(images, 255)
    flat = images.reshape(len(images), -1) / 255
    centred = flat - flat.mean(0)
    values, vectors = np.linalg.eigh(np.cov(centred, rowvar=False))
    expected = centred @ vectors @ np.diag((values + EPSILON) ** -0.5) @ vectors.T
    ours = (flat - whitening.mean) @ whitening.forward_matrix()
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_inverse_returns_the_image(images):
    whitening = fit_whitening(images, 255)
    flat = images.reshape(len(images), -1) / 255
    white = ((flat - whitening.mean) @ whitening.forward_matrix()).astype(np.float32)
    back = whitening.invert(white.reshape(images.shape))
    np.testing.assert_allclose(back, images / 255, atol=1e-4)


def test_pixel_that_never_changes_is_kept():
    images = np.zeros((5, 1, 2, 2), dtype=np.uint8)
    images[:, 0, 0, 0] = [0, 50, 100, 150, 200]
    whitening = fit_whitening(images, 200)
    assert np.isfinite(whitening.forward_matrix()).all()
    white = (images.reshape(5, -1) / 200 - whitening.mean) @ whitening.forward_matrix()
    np.testing.assert_allclose(white[:, 1:], 0, atol=1e-6)


def forward(whitening, flat):
    """Images (n d) as networks see them."""
    prepared = standardised(flat) if whitening.standardises else flat
    return (prepared - whitening.mean) @ whitening.forward_matrix()


def test_frepo_whitens_pixels_over_the_deviation_of_their_channel(images):
    """Normalised by channel, centred, 1/n, regularised by 0.1 of the mean eigenvalue."""
    pixels = images / 255
    std = pixels.std(axis=(0, 2, 3))
    whitening = fit_whitening(images, 255, "frepo", tuple(std))
    normal = ((pixels - pixels.mean(axis=(0, 2, 3))[:, None, None]) / std[:, None, None]).reshape(
        len(images), -1
    )
    centred = normal - normal.mean(0)
    covariance = centred.T @ centred / len(images)
    values, vectors = np.linalg.eigh(covariance)
    strength = 0.1 * np.trace(covariance) / len(covariance)
    expected = centred @ vectors @ np.diag((values + strength) ** -0.5) @ vectors.T
    flat = pixels.reshape(len(images), -1)
    ours = forward(whitening, flat)
    np.testing.assert_allclose(ours, expected, atol=2e-5)
    back = whitening.invert(ours.astype(np.float32).reshape(images.shape))
    np.testing.assert_allclose(back, pixels, atol=1e-4)


def test_kip_takes_the_mean_and_the_norm_out_of_every_image(images):
    """Not centred by pixel, 1/n, regularised by 0.1 of the mean eigenvalue."""
    whitening = fit_whitening(images, 255, "kip")
    flat = images.reshape(len(images), -1) / 255
    own = flat - flat.mean(1, keepdims=True)
    norms = np.linalg.norm(own, axis=1, keepdims=True)
    unit = own / norms
    covariance = unit.T @ unit / len(unit)
    values, vectors = np.linalg.eigh(covariance)
    strength = 0.1 * values.mean()
    expected = unit @ vectors @ np.diag((values + strength) ** -0.5) @ vectors.T
    ours = forward(whitening, flat)
    np.testing.assert_allclose(ours, expected, atol=2e-5)
    # Back in pixels, every image has the mean and the norm of an average one.
    back = whitening.invert(ours.astype(np.float32).reshape(images.shape)).reshape(flat.shape)
    np.testing.assert_allclose(back, unit * norms.mean() + flat.mean(), atol=1e-4)


def test_image_of_one_value_becomes_zero():
    images = np.full((6, 1, 2, 2), 7, dtype=np.uint8)
    images[:4] = np.arange(16, dtype=np.uint8).reshape(4, 1, 2, 2) * np.array([1, 2, 3, 1]).reshape(
        4, 1, 1, 1
    ).astype(np.uint8)
    whitening = fit_whitening(images, 16, "kip")
    seen = forward(whitening, images.reshape(6, -1) / 16)
    assert np.isfinite(seen).all() and (seen[4:] == 0).all()
