"""The trackers by name, and whether the packages that they need are installed."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Literal

from ddspec.dsl.diagnostics import MachineError

TrackerName = Literal["tensorboard", "mlflow", "wandb"]

PACKAGES: Mapping[TrackerName, tuple[str, ...]] = {
    "tensorboard": ("tensorboard",),
    "mlflow": ("mlflow", "sqlalchemy", "alembic"),
    "wandb": ("wandb",),
}
"""Modules that each tracker imports; the extra of ddspec with the tracker's name has them."""


def check_trackers(names: Sequence[str]) -> tuple[TrackerName, ...]:
    """Return the trackers with these names, each once.

    Raises ValueError for an unknown name, and MachineError, which names the extra, if a
    tracker is not installed.
    """
    trackers = []
    for name in dict.fromkeys(names):
        known = next((tracker for tracker in PACKAGES if tracker == name), None)
        if known is None:
            raise ValueError(f"{name!r} is not one of {', '.join(PACKAGES)}")
        missing = [package for package in PACKAGES[known] if find_spec(package) is None]
        if missing:
            raise MachineError(
                f"--log {name} needs the package {missing[0]}, which is not installed",
                hint=f'pip install "ddspec[{name}]"',
            )
        trackers.append(known)
    return tuple(trackers)
