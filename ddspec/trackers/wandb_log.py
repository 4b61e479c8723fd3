"""Weights & Biases: a run of the project `ddspec`, where its own settings say.

`WANDB_PROJECT`, `WANDB_MODE` and `WANDB_DIR` are its environment variables. The run has the name of
the run folder as its id, so that later calls continue it.
"""

import os
from pathlib import Path

import wandb

from ddspec.trackers.tracked_run import Scalars, settings_of

AT = "at"


class WandbLog:
    """A run of Weights & Biases."""

    def __init__(self, folder: Path) -> None:
        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "ddspec"),
            id=folder.name,
            name=folder.name,
            config=settings_of(folder),
            resume="allow",
        )
        self.place = self.run.url or str(Path(self.run.dir).parent)
        self.groups: set[str] = set()

    def log(self, scalars: Scalars) -> None:
        """Log numbers of the run, on an axis for each of its steps."""
        axis = f"{scalars.group}/{AT}"
        if scalars.group not in self.groups:
            self.groups.add(scalars.group)
            self.run.define_metric(axis, hidden=True)
            self.run.define_metric(f"{scalars.group}/*", step_metric=axis)
        self.run.log({**scalars.named, axis: scalars.at})

    def close(self, results: dict[str, float], status: str) -> None:
        """Log the results and end the run."""
        for name, value in results.items():
            self.run.summary[f"result/{name}"] = value
        self.run.finish(exit_code=0 if status == "done" else 1)
