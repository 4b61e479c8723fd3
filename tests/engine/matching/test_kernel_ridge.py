"""Ridge regression on features: against its closed form, in float64."""

import numpy as np
import pytest
import torch

from ddspec.engine.matching.kernel_ridge import ridge_predictions


def drawn(*shape: int, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def test_predictions_are_those_of_the_primal_ridge():
    """The weights of features that minimise |X w - Y|^2 + lambda |w|^2, by NumPy."""
    real, synthetic, labels = drawn(5, 4), drawn(7, 4, seed=1), drawn(7, 3, seed=2)
    x, y = synthetic.numpy(), labels.numpy()
    strength = 0.1 * np.trace(x @ x.T) / 7
    weights = np.linalg.solve(x.T @ x + strength * np.eye(4), x.T @ y)
    predicted = ridge_predictions(real, synthetic, labels, ridge=0.1)
    np.testing.assert_allclose(predicted.numpy(), real.numpy() @ weights, rtol=1e-10)


def test_without_ridge_it_interpolates():
    synthetic, labels = drawn(6, 20), drawn(6, 3, seed=1)
    predicted = ridge_predictions(synthetic, synthetic, labels, ridge=0.0)
    torch.testing.assert_close(predicted, labels, rtol=0, atol=1e-10)


def test_gradient_is_that_of_finite_differences():
    real, synthetic, labels = drawn(3, 5), drawn(4, 5, seed=1), drawn(4, 2, seed=2)
    inputs = (synthetic.requires_grad_(), labels.requires_grad_())
    assert torch.autograd.gradcheck(lambda s, y: ridge_predictions(real, s, y, 0.1), inputs)


def test_equal_images_without_ridge_give_no_number():
    synthetic = torch.ones(3, 4, dtype=torch.float64)
    synthetic[1] *= 2
    predicted = ridge_predictions(synthetic, -synthetic, torch.eye(3).double(), ridge=0.0)
    assert not predicted.isfinite().all()


@pytest.mark.parametrize("ridge", [1e-6, 1e-2])
def test_float32_has_the_digits_of_float64(ridge):
    """Nearly equal images, whose kernel float32 cannot invert."""
    synthetic = 1 + 1e-3 * drawn(8, 50)
    labels, real = drawn(8, 3, seed=1), drawn(4, 50, seed=2)
    narrow = ridge_predictions(real.float(), synthetic.float(), labels.float(), ridge)
    wide = ridge_predictions(real, synthetic.float().double(), labels, ridge)
    assert narrow.dtype == torch.float32
    torch.testing.assert_close(narrow.double(), wide, rtol=1e-3, atol=1e-3)
