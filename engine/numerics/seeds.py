"""Named random streams: every draw has an address, and nothing depends on execution order."""

import hashlib
import json

import torch
from torch import Tensor


def seed_of(seed: int, *path: str | int) -> int:
    """A 63-bit seed for the place `path` in an experiment of that seed."""
    name = json.dumps([seed, *path]).encode()
    return int.from_bytes(hashlib.sha256(name).digest()[:8], "big") >> 1


def random_stream(seed: int, *path: str | int) -> torch.Generator:
    """The random stream of that place, on the CPU whatever the device of the numbers."""
    return torch.Generator().manual_seed(seed_of(seed, *path))


def to_device(drawn: Tensor, device: torch.device) -> Tensor:
    """What was drawn on the CPU, so that devices draw alike, on the device; nobody waits for it."""
    if device.type == "cpu":
        return drawn
    return drawn.pin_memory().to(device, non_blocking=True)
