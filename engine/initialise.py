"""Synthetic images before the first iteration."""

from typing import assert_never

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ddspec.dsl.plan import InitialiseStep
from ddspec.dsl.spec import Noise, Real
from ddspec.dsl.terms import LabelKind
from ddspec.engine.bench import Bench
from ddspec.engine.seeds import stream
from ddspec.engine.store import Provenance


def initialise(step: InitialiseStep, bench: Bench) -> None:
    """Make the first synthetic set: class-major images and their labels."""
    synthetic = step.synthetic
    labels = labels_of(synthetic.labels, bench.facts.classes, synthetic.ipc)
    match synthetic.init:
        case Real():
            images = random_real(bench, synthetic.ipc, stream(step.seed, "initialise", "real"))
        case Noise():
            facts = bench.facts
            shape = (len(labels), facts.channels, facts.height, facts.width)
            images = torch.randn(shape, generator=stream(step.seed, "initialise", "noise"))
        case _:
            assert_never(synthetic.init)
    arrays = {"images": images.cpu().numpy(), "labels": labels.numpy()}
    bench.store.put("synthetic", step.preimage, arrays, Provenance((step.route,)))


def labels_of(kind: LabelKind, classes: int, ipc: int) -> Int[Tensor, " n"]:
    """Labels of a fresh synthetic set."""
    match kind:
        case "hard":
            return hard_labels(classes, ipc)
        case _:
            assert_never(kind)


def hard_labels(classes: int, ipc: int) -> Int[Tensor, " n"]:
    """One class per image, class-major."""
    return torch.from_numpy(np.repeat(np.arange(classes, dtype=np.int64), ipc))


def random_real(bench: Bench, ipc: int, generator: torch.Generator) -> Float[Tensor, "n c h w"]:
    """`ipc` distinct random training images of each class."""
    chosen = []
    first = 0
    for count in bench.facts.train_per_class:
        chosen.append(first + torch.randperm(count, generator=generator)[:ipc])
        first += count
    return bench.data.train_images[torch.cat(chosen).to(bench.device)]
