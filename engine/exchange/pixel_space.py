"""What the numbers of a set's pixels are, by the arrays that stand beside them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ddspec.dsl.diagnostics import DataError
from ddspec.dsl.record.synthetic_set import PixelSpace
from ddspec.dsl.terms import PixelSpaceName


def space_by_name(path: Path, values: Mapping[str, Any]) -> PixelSpace | None:
    """Return the space of the pixels from the arrays that `ddspec export` keeps beside them."""
    if "zca_mean" in values:
        return PixelSpace(name=whitened_space(values))
    if isinstance(values.get("mean"), np.ndarray) and isinstance(values.get("std"), np.ndarray):
        mean, std = (np.atleast_1d(values[key]).astype(float) for key in ("mean", "std"))
        return normalised(path, tuple(mean.tolist()), tuple(std.tolist()))
    return None


def whitened_space(values: Mapping[str, Any]) -> PixelSpaceName:
    """Return the space of whitened pixels by the arrays that only some forms have."""
    if "zca_scale" in values:
        return "whitened_frepo"
    return "whitened_kip" if "zca_contrast" in values else "whitened"


def normalised(path: Path, mean: tuple[float, ...], std: tuple[float, ...]) -> PixelSpace:
    """Return a normalised space; raise DataError if its numbers cannot be."""
    whole = all(map(np.isfinite, (*mean, *std))) and len(mean) == len(std) <= 64
    if not whole or not mean or min(std) <= 0 or max(map(abs, (*mean, *std))) > 1e6:
        raise DataError(f"{path.name}: its mean and std are not those of pixels in [0, 1]")
    return PixelSpace(name="normalized", mean=mean, std=std)
