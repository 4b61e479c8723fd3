"""Optimisers on flat vectors: an optimiser is its settings, and its state is a value."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class OptimiserState:
    """The learned vector with the memory of its optimiser."""

    value: Tensor
    velocity: Tensor
    """The momentum buffer of torch.optim.SGD, or Adam's running mean of gradients."""
    second: Tensor | None = None
    """Adam's running mean of squared gradients."""
    steps: int = 0
    """Steps taken so far, which Adam's bias correction needs."""

    @classmethod
    def without_memory(cls, value: Tensor) -> "OptimiserState":
        """Return the state of an optimiser that has taken no step."""
        return cls(value, torch.zeros_like(value))


@dataclass(frozen=True)
class SgdOptimiser:
    """Settings of SGD, with the meaning of torch.optim.SGD."""

    lr: float
    momentum: float = 0.0
    weight_decay: float = 0.0

    def step(self, at: OptimiserState, gradient: Tensor) -> OptimiserState:
        """Take one step: velocity <- momentum velocity + g; value -= lr velocity."""
        if self.weight_decay:
            gradient = gradient + self.weight_decay * at.value
        # Weight decay is part of the gradient and so of the momentum, as in torch.optim.SGD.
        velocity = self.momentum * at.velocity + gradient
        return OptimiserState(at.value - self.lr * velocity, velocity)


@dataclass(frozen=True)
class AdamOptimiser:
    """Settings of Adam (arXiv:1412.6980), with the meaning of torch.optim.Adam."""

    lr: float
    beta1: float
    beta2: float
    epsilon: float
    weight_decay: float = 0.0

    def step(self, at: OptimiserState, gradient: Tensor) -> OptimiserState:
        """Take one step: value -= lr * mean / (sqrt(mean square) + epsilon).

        Both means are divided by 1 - beta^steps, because they start from zero.
        """
        if self.weight_decay:
            # Coupled decay, as in torch.optim.Adam; AdamW's is another optimiser.
            gradient = gradient + self.weight_decay * at.value
        before = torch.zeros_like(at.value) if at.second is None else at.second
        mean = self.beta1 * at.velocity + (1 - self.beta1) * gradient
        second = self.beta2 * before + (1 - self.beta2) * gradient.square()
        steps = at.steps + 1
        scale = (second / (1 - self.beta2**steps)).sqrt() + self.epsilon
        step = self.lr / (1 - self.beta1**steps) * mean / scale
        return OptimiserState(at.value - step, mean, second, steps)


@dataclass(frozen=True)
class LambOptimiser:
    """Settings of LAMB without weight decay (arXiv:1904.00962)."""

    lr: float
    beta1: float
    beta2: float
    epsilon: float

    def step(self, at: OptimiserState, gradient: Tensor) -> OptimiserState:
        """Take the step of Adam, scaled so that its norm is lr times that of the value.

        A value or a step of norm zero leaves the step as Adam's.
        """
        adam = AdamOptimiser(1.0, self.beta1, self.beta2, self.epsilon).step(at, gradient)
        step = at.value - adam.value
        length, norm = at.value.norm(), step.norm()
        trust = torch.where((length > 0) & (norm > 0), length / norm.clamp(min=1e-30), 1.0)
        return replace(adam, value=at.value - self.lr * trust * step)


Optimiser = SgdOptimiser | AdamOptimiser | LambOptimiser
