"""Instance norm and average pooling in forms that are quick to differentiate twice.

torch differentiates its group norm twice through some forty passes over the maps. With
x^ = (x - mean) r the gradient of the norm y = gamma x^ + beta is

    gx = r (gamma g - mean(gamma g) - x^ mean(gamma g x^))

per image and channel. What goes back through that is, for each of x and g, a sum of the three maps
x^, g and v (the cotangent of gx) with one coefficient per image and channel each. torch's kernel
that pools on a CPU takes three times as long as the four additions that it makes.

What the layers give, and their first derivatives, are the same as torch's to the bit.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

EPSILON = 1e-5
"""As in torch's norms."""

Maps = Float[Tensor, "n c h w"]


class InstanceNorm(nn.Module):
    """Affine norm of every channel of every image by its own mean and variance; no statistics run.

    The same as group norm with a group per channel, which the field calls instance norm.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, maps: Maps) -> Maps:
        """The normalised maps, in no less than float32."""
        maps = maps.float() if maps.dtype == torch.bfloat16 else maps
        if is_small(maps):
            return F.group_norm(maps, maps.shape[1], self.weight, self.bias, EPSILON)
        normalised: Tensor = InstanceNormFunction.apply(maps, self.weight, self.bias)
        return normalised


SMALL = 2**17


def is_small(maps: Tensor) -> bool:
    """Whether calls cost more than what they compute, so that torch's fewer calls are quicker."""
    return not maps.is_cuda and maps.numel() < SMALL


def per_channel(values: Float[Tensor, "n c"], maps: Tensor) -> Float[Tensor, "n c 1 1"]:
    """Numbers of every image and channel, to be multiplied with maps."""
    return values.view(maps.shape[0], maps.shape[1], 1, 1)


class InstanceNormFunction(torch.autograd.Function):
    """The norm itself, by torch's kernel."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Normalise, keeping the maps with their mean and scale."""
        n, c, h, w = maps.shape
        maps = maps.contiguous()
        out, mean, scale = torch.native_group_norm(maps, weight, bias, n, c, h * w, c, EPSILON)
        ctx.save_for_backward(maps, weight, mean, scale)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The gradient, as a function that can be differentiated itself."""
        maps, weight, mean, scale = ctx.saved_tensors
        found: tuple[Tensor, Tensor, Tensor] = InstanceNormGradient.apply(
            grads[0], maps, weight, mean, scale
        )
        return found


class InstanceNormGradient(torch.autograd.Function):
    """The gradient of the norm, by torch's kernel; mean and scale go with the maps."""

    @staticmethod
    def forward(
        ctx: Any, g: Tensor, maps: Tensor, weight: Tensor, mean: Tensor, scale: Tensor
    ) -> tuple[Tensor, ...]:
        """Gradients by maps, weight and bias."""
        n, c, h, w = maps.shape
        g = g.contiguous()
        ctx.save_for_backward(g, maps, weight, mean, scale)
        found: tuple[Tensor, ...] = torch.ops.aten.native_group_norm_backward(
            g, maps, mean, scale, weight, n, c, h * w, c, [True, True, True]
        )
        return found

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """What goes back to g, maps and weight; mean and scale went with the maps."""
        v, by_weight, by_bias = grads
        g, maps, weight, mean, scale = ctx.saved_tensors
        size = maps.shape[2] * maps.shape[3]
        # A row per image and channel.
        rows = (maps.shape[0] * maps.shape[1], size)
        x = maps.sub(per_channel(mean, maps)).mul_(per_channel(scale, maps)).view(rows)
        g, v = g.view(rows), v.contiguous().view(rows)
        r, images = scale.view(-1), maps.shape[0]
        gamma, u, b = (values.repeat(images) for values in (weight, by_weight, by_bias))
        v_mean, g_mean = v.mean(1), g.mean(1)
        p, q = row_dots(v, x) / size, row_dots(g, x) / size
        inside = row_dots(v, g) / size - v_mean * g_mean - p * q
        by_g = u - gamma * r * p
        to_g = torch.addcmul((b - gamma * r * v_mean)[:, None], by_g[:, None], x)
        to_g.addcmul_((gamma * r)[:, None], v)
        # x enters through x^, and through r as the variance moves.
        along_v, along_g = -(r**2) * gamma * q, r * by_g
        level = -(along_v * v_mean + along_g * g_mean)
        along_x = -(along_v * p + along_g * q) - r**2 * gamma * inside
        to_x = torch.addcmul(level[:, None], along_x[:, None], x)
        to_x.addcmul_(along_v[:, None], v).addcmul_(along_g[:, None], g)
        to_weight = (r * inside * size).view(images, -1).sum(0)
        return to_g.view(maps.shape), to_x.view(maps.shape), to_weight, None, None


def row_dots(a: Float[Tensor, "r s"], b: Float[Tensor, "r s"]) -> Float[Tensor, " r"]:
    """The inner product of every row with its own."""
    return torch.linalg.vecdot(a, b)


class AveragePool(nn.Module):
    """The mean of every 2x2 pixels; a last odd row or column is left out, as torch does."""

    def forward(self, maps: Maps) -> Float[Tensor, "n c i j"]:
        """Maps of half the height and width."""
        if maps.is_cuda or is_small(maps):
            return F.avg_pool2d(maps, 2)
        height, width = maps.shape[2] // 2 * 2, maps.shape[3] // 2 * 2
        pooled: Tensor = AveragePoolFunction.apply(maps[:, :, :height, :width])
        return pooled


class AveragePoolFunction(torch.autograd.Function):
    """Pooling by adding in torch's order; it is linear, and `AveragePoolTranspose` is its transpose."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor) -> Tensor:
        """A quarter of the sum of four."""
        upper, lower = maps[:, :, 0::2], maps[:, :, 1::2]
        total = upper[..., 0::2] + upper[..., 1::2]
        return total.add_(lower[..., 0::2]).add_(lower[..., 1::2]).mul_(0.25)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        """Every pixel gets a quarter."""
        spread: Tensor = AveragePoolTranspose.apply(grads[0])
        return spread


class AveragePoolTranspose(torch.autograd.Function):
    """A quarter of every pixel to four."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor) -> Tensor:
        """Two rows from one by a matrix, which is quicker than repeating pixels one by one."""
        n, c, h, w = maps.shape
        quarters = torch.eye(w, dtype=maps.dtype).mul_(0.25).repeat_interleave(2, dim=1)
        return (maps.reshape(-1, w) @ quarters.repeat(1, 2)).view(n, c, 2 * h, 2 * w)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        """The mean over every four."""
        pooled: Tensor = AveragePoolFunction.apply(grads[0])
        return pooled
