"""The process of one tracker: it reads the events of a run until its standard input closes.

    python -m ddspec.trackers.follow TRACKER FOLDER OFFSET EARLIER

Events before byte OFFSET, and a record that was written at the time EARLIER, are those of earlier
calls. The last line of its output says where the tracker wrote, or why it failed.
"""

import select
import signal
import sys
from pathlib import Path
from typing import cast, get_args

from ddspec.dsl.terminal_text import message_of
from ddspec.trackers.installed import TrackerName
from ddspec.trackers.tracked_run import (
    EventReader,
    Tracker,
    evaluations_of,
    read_new_record,
    results_of,
)

READ_EVERY_SECONDS = 1.0


def open_tracker(name: TrackerName, folder: Path) -> Tracker:
    """Open a tracker for a run folder."""
    match name:
        case "tensorboard":
            from ddspec.trackers.tensorboard_log import TensorBoardLog

            return TensorBoardLog(folder)
        case "mlflow":
            from ddspec.trackers.mlflow_log import MlflowLog

            return MlflowLog(folder)
        case "wandb":
            from ddspec.trackers.wandb_log import WandbLog

            return WandbLog(folder)


def follow(name: TrackerName, folder: Path, offset: int, earlier: int) -> str:
    """Log a run until standard input closes; return where, or "" if nothing happened in it.

    The tracker is opened at the first event: the run folder has its settings by then.
    """
    events = EventReader(folder, offset)
    tracker: Tracker | None = None
    ended = False
    while not ended:
        ended = bool(select.select([sys.stdin], [], [], READ_EVERY_SECONDS)[0])
        for scalars in events.new_events():
            tracker = tracker or open_tracker(name, folder)
            tracker.log(scalars)
    if tracker is None:
        return ""
    record = read_new_record(folder, earlier)
    for scalars in evaluations_of(record) if record else ():
        tracker.log(scalars)
    tracker.close(results_of(record) if record else {}, record.outcome.status if record else "")
    return tracker.place


def main(arguments: list[str]) -> int:
    """Follow a run as the arguments say; return the exit code."""
    # Ctrl-C reaches every process of the terminal; this one ends after the run.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    name, folder, offset, earlier = arguments
    assert name in get_args(TrackerName), name
    try:
        place = follow(cast(TrackerName, name), Path(folder), int(offset), int(earlier))
    except Exception as error:
        sys.stdout.write(f"\n{type(error).__name__}: {message_of(error)}\n")
        return 1
    sys.stdout.write(f"\n{place}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
