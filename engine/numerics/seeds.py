"""Named random streams: every draw has an address, and nothing depends on execution order."""

import hashlib
import json

import torch
from torch import Tensor


def seed_of(seed: int, *path: str | int) -> int:
    """Return the 63-bit seed of the address `path` in an experiment with this seed."""
    address = json.dumps([seed, *path]).encode()
    return int.from_bytes(hashlib.sha256(address).digest()[:8], "big") >> 1


def random_stream(seed: int, *path: str | int) -> torch.Generator:
    """Return the random stream of an address; it draws on the CPU for every device."""
    return torch.Generator().manual_seed(seed_of(seed, *path))


def to_device(drawn: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor that was drawn on the CPU to the device, without waiting for the copy.

    Draws happen on the CPU so that all devices draw the same numbers.
    """
    if device.type == "cpu":
        return drawn
    # Only a copy from pinned memory can run while the host goes on.
    return drawn.pin_memory().to(device, non_blocking=True)
