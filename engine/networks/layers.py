"""Instance norm and average pooling in forms that are fast to differentiate twice.

torch needs about forty passes over the maps for the second derivative of its group norm. With
x^ = (x - mean) r the gradient of the norm y = gamma x^ + beta is

    gx = r (gamma g - mean(gamma g) - x^ mean(gamma g x^))

per image and channel. Its derivative by x and by g is, for each, a sum of the three maps x^, g and
v (the cotangent of gx) with one coefficient per image and channel. For average pooling, torch's
CPU kernel takes three times as long as the additions that it performs.

Outputs and first derivatives of these layers equal torch's to the bit.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

EPSILON = 1e-5
"""Added to the variance, as in torch's norms."""

Maps = Float[Tensor, "n c h w"]


class InstanceNorm(nn.Module):
    """Affine norm of every channel of every image by its own mean and variance.

    It equals group norm with one group per channel, which the field calls instance norm, and
    keeps no running statistics.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, maps: Maps) -> Maps:
        """Return the normalised maps, in float32 or wider."""
        # bfloat16 has too few digits for means and variances.
        maps = maps.float() if maps.dtype == torch.bfloat16 else maps
        if is_small(maps):
            return F.group_norm(maps, maps.shape[1], self.weight, self.bias, EPSILON)
        normalised: Tensor = InstanceNormFunction.apply(maps, self.weight, self.bias)
        return normalised


SMALL = 2**17
"""Numbers in a map below which a call costs more than its arithmetic on a CPU."""


def is_small(maps: Tensor) -> bool:
    """Return whether torch's own layer, which makes fewer calls, is faster for these maps."""
    return not maps.is_cuda and maps.numel() < SMALL


def per_channel(values: Float[Tensor, "n c"], maps: Tensor) -> Float[Tensor, "n c 1 1"]:
    """Shape one number per image and channel so that it broadcasts over maps."""
    return values.view(maps.shape[0], maps.shape[1], 1, 1)


class InstanceNormFunction(torch.autograd.Function):
    """The norm, by torch's kernel."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Normalise; save the maps, their mean and their scale for the derivative."""
        n, c, h, w = maps.shape
        maps = maps.contiguous()
        # As many groups as channels: each channel of each image is normalised by itself.
        out, mean, scale = torch.native_group_norm(maps, weight, bias, n, c, h * w, c, EPSILON)
        ctx.save_for_backward(maps, weight, mean, scale)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradient, by a function that can itself be differentiated."""
        maps, weight, mean, scale = ctx.saved_tensors
        gradients: tuple[Tensor, Tensor, Tensor] = InstanceNormGradient.apply(
            grads[0], maps, weight, mean, scale
        )
        return gradients


class InstanceNormGradient(torch.autograd.Function):
    """The gradient of the norm, by torch's kernel.

    Mean and scale count as functions of the maps, not as inputs.
    """

    @staticmethod
    def forward(
        ctx: Any, g: Tensor, maps: Tensor, weight: Tensor, mean: Tensor, scale: Tensor
    ) -> tuple[Tensor, ...]:
        """Return the gradients by maps, weight and bias."""
        n, c, h, w = maps.shape
        g = g.contiguous()
        ctx.save_for_backward(g, maps, weight, mean, scale)
        gradients: tuple[Tensor, ...] = torch.ops.aten.native_group_norm_backward(
            g, maps, mean, scale, weight, n, c, h * w, c, [True, True, True]
        )
        return gradients

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Return the cotangents of g, maps and weight; mean and scale get none."""
        v, by_weight, by_bias = grads
        g, maps, weight, mean, scale = ctx.saved_tensors
        size = maps.shape[2] * maps.shape[3]
        # One row per image and channel: all sums below run over its pixels.
        rows = (maps.shape[0] * maps.shape[1], size)
        x = maps.sub(per_channel(mean, maps)).mul_(per_channel(scale, maps)).view(rows)
        g, v = g.view(rows), v.contiguous().view(rows)
        r, images = scale.view(-1), maps.shape[0]
        gamma, u, b = (values.repeat(images) for values in (weight, by_weight, by_bias))
        v_mean, g_mean = v.mean(1), g.mean(1)
        # p, q and `inside` are the only inner products that both derivatives need.
        p, q = row_dots(v, x) / size, row_dots(g, x) / size
        inside = row_dots(v, g) / size - v_mean * g_mean - p * q
        by_g = u - gamma * r * p
        to_g = torch.addcmul((b - gamma * r * v_mean)[:, None], by_g[:, None], x)
        to_g.addcmul_((gamma * r)[:, None], v)
        # x acts through x^ and, because the variance moves with it, through r.
        along_v, along_g = -(r**2) * gamma * q, r * by_g
        level = -(along_v * v_mean + along_g * g_mean)
        along_x = -(along_v * p + along_g * q) - r**2 * gamma * inside
        to_x = torch.addcmul(level[:, None], along_x[:, None], x)
        to_x.addcmul_(along_v[:, None], v).addcmul_(along_g[:, None], g)
        to_weight = (r * inside * size).view(images, -1).sum(0)
        return to_g.view(maps.shape), to_x.view(maps.shape), to_weight, None, None


def row_dots(a: Float[Tensor, "r s"], b: Float[Tensor, "r s"]) -> Float[Tensor, " r"]:
    """Return the inner product of each row of `a` with the same row of `b`."""
    return torch.linalg.vecdot(a, b)


class AveragePool(nn.Module):
    """The mean of every 2x2 pixels; an odd last row or column is left out, as in torch."""

    def forward(self, maps: Maps) -> Float[Tensor, "n c i j"]:
        """Return maps of half the height and width."""
        if maps.is_cuda or is_small(maps):
            return F.avg_pool2d(maps, 2)
        height, width = maps.shape[2] // 2 * 2, maps.shape[3] // 2 * 2
        pooled: Tensor = AveragePoolFunction.apply(maps[:, :, :height, :width])
        return pooled


class AveragePoolFunction(torch.autograd.Function):
    """Pooling by additions in torch's order; `AveragePoolTranspose` is its transpose."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor) -> Tensor:
        """Return a quarter of the sum of each four pixels."""
        upper, lower = maps[:, :, 0::2], maps[:, :, 1::2]
        total = upper[..., 0::2] + upper[..., 1::2]
        return total.add_(lower[..., 0::2]).add_(lower[..., 1::2]).mul_(0.25)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        """Spread a quarter of each gradient to its four pixels."""
        spread: Tensor = AveragePoolTranspose.apply(grads[0])
        return spread


class AveragePoolTranspose(torch.autograd.Function):
    """The transpose of average pooling: a quarter of every pixel goes to four."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor) -> Tensor:
        """Repeat rows and columns by one matrix product, which is faster than repeating pixels."""
        n, c, h, w = maps.shape
        quarters = torch.eye(w, dtype=maps.dtype).mul_(0.25).repeat_interleave(2, dim=1)
        return (maps.reshape(-1, w) @ quarters.repeat(1, 2)).view(n, c, 2 * h, 2 * w)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        """Return the mean of each four."""
        pooled: Tensor = AveragePoolFunction.apply(grads[0])
        return pooled
