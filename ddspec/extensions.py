"""What a package needs to add parts to the language; see `docs/tutorials/add_a_loss.md`.

It is imported to check a spec, and so it does not import torch.
"""

from ddspec.dsl.extensions.declaration import Extension, Keys, Part, PartKind
from ddspec.dsl.keys.declare import key

__all__ = ["Extension", "Keys", "Part", "PartKind", "key"]
