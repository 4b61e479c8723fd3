"""MLflow: a run of the experiment `ddspec`, where MLflow's own settings say.

`MLFLOW_TRACKING_URI` and `MLFLOW_EXPERIMENT_NAME` are MLflow's environment variables. A run folder
has one run of MLflow, which later calls continue.
"""

import os
import time
from pathlib import Path

from mlflow import MlflowClient, get_tracking_uri
from mlflow.entities import Metric, Param

from ddspec.trackers.tracked_run import Scalars, settings_of

FOLDER_TAG = "ddspec.run"
MOST_PARAMS = 100
"""Most parameters that MLflow takes at once."""
MOST_CHARACTERS = 500
"""Longest value of a parameter that every server of MLflow takes."""

STATUS = {"done": "FINISHED", "interrupted": "KILLED"}


class MlflowLog:
    """A run of MLflow."""

    def __init__(self, folder: Path) -> None:
        self.client = MlflowClient()
        self.run_id = self.open_run(folder)
        self.place = get_tracking_uri()
        params = [
            Param(key, str(value)[:MOST_CHARACTERS]) for key, value in settings_of(folder).items()
        ]
        for first in range(0, len(params), MOST_PARAMS):
            part = params[first : first + MOST_PARAMS]
            self.client.log_batch(self.run_id, params=part)

    def open_run(self, folder: Path) -> str:
        """Return the run of MLflow that belongs to a run folder; begin it if there is none."""
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "ddspec")
        experiment = self.client.get_experiment_by_name(name)
        number = experiment.experiment_id if experiment else self.client.create_experiment(name)
        query = f"tags.`{FOLDER_TAG}` = '{folder.name}'"
        for earlier in self.client.search_runs([number], filter_string=query, max_results=1):
            self.client.update_run(earlier.info.run_id, status="RUNNING")
            return str(earlier.info.run_id)
        tags = {FOLDER_TAG: folder.name}
        return str(self.client.create_run(number, run_name=folder.name, tags=tags).info.run_id)

    def log(self, scalars: Scalars) -> None:
        """Log numbers of the run."""
        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, scalars.at) for name, value in scalars.named.items()]
        self.client.log_batch(self.run_id, metrics=metrics)

    def close(self, results: dict[str, float], status: str) -> None:
        """Log the results and end the run of MLflow."""
        if results:
            self.log(Scalars("result", 0, results))
        self.client.set_terminated(self.run_id, STATUS.get(status, "FAILED"))
