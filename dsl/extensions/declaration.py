"""What an installed package declares to add to the language, without importing its code.

A package names its declaration in the entry-point group `ddspec.extensions`; the entry point's
name is the owner in every name of a spec:

    [project.entry-points."ddspec.extensions"]
    mylab = "mylab_parts:EXTENSION"

The module of the declaration is imported to check a spec, so it does not import torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import ConfigDict

from ddspec.dsl.document import Document

PartKind = Literal["losses", "objectives", "networks", "datasets"]
"""What an extension may add."""

ARGUMENTS: Mapping[PartKind, tuple[str, ...]] = {
    "losses": ("student", "target", "start"),
    "objectives": ("network", "theta", "real", "synthetic", "label"),
    "networks": ("channels", "height", "width", "classes"),
    "datasets": ("folder",),
}
"""Keyword arguments of the function of a part, beside its keys; see `Part`."""


class Keys(Document):
    """The keys of a part: fields of type bool, int, float or str, declared by `key`."""

    model_config = ConfigDict(validate_default=True)


@dataclass(frozen=True)
class Part:
    """One part of an extension.

    A function returns the same for the same arguments: it draws no random numbers, keeps nothing
    between calls, and does not change its arguments.

    The function that `code` names gets the values of the part's keys as keyword arguments, and:

    - of a loss: `student`, `target`, `start`, flat parameters of shape (p,). It returns the
      distance, one number that is differentiable by `student`.
    - of an objective: `network`, `theta`, `real`, `synthetic`, `label`. `network(theta, images)`
      are logits and `network.features(theta, images)` penultimate features; `real` and
      `synthetic` are augmented images (n, c, h, w) of the class `label`. It returns the loss of
      that class, one number that is differentiable by `synthetic`.
    - of a network: `channels`, `height`, `width`, `classes`. It returns a torch.nn.Module. As the
      network of experts and students it is an nn.Sequential that ends in nn.Linear, without
      buffers and dropout.
    - of a dataset: `folder`, the path of its files, which may be missing. It returns a mapping
      with `train` and `test`, each a pair of images and labels, and `classes`, the names in the
      order of the labels. Images are bytes (n, h, w, c) or (n, h, w). A dataset has no keys.
    """

    code: str
    """Module and function in the package, such as mylab_parts.parts:lp."""
    keys: type[Keys] = Keys
    meaning: str = ""
    """What it is, in a sentence that `ddspec explain` prints."""


@dataclass(frozen=True)
class Extension:
    """The parts that a package adds, by name without the owner."""

    losses: Mapping[str, Part] = field(default_factory=dict)
    """Matching losses, for `matching.loss`."""
    objectives: Mapping[str, Part] = field(default_factory=dict)
    """Objectives that compare classes, for `matching.objective`."""
    networks: Mapping[str, Part] = field(default_factory=dict)
    """Networks, for `network.name` and `evaluation.networks`."""
    datasets: Mapping[str, Part] = field(default_factory=dict)
    """Readers of datasets, for `dataset.name`."""

    def parts(self, kind: PartKind) -> Mapping[str, Part]:
        """Return the parts of a kind."""
        parts: Mapping[str, Part] = getattr(self, kind)
        return parts
