"""TensorBoard: an event file in the run folder, for `tensorboard --logdir runs`."""

import socket
import time
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.summary.writer.record_writer import RecordWriter

from ddspec.dsl.record.file_names import RESOLVED_TOML, TENSORBOARD
from ddspec.trackers.tracked_run import Scalars


class TensorBoardLog:
    """Writes each event to the file immediately, without a background thread."""

    def __init__(self, folder: Path) -> None:
        logs = folder / TENSORBOARD
        logs.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}"
        self.place = str(logs)
        self.file = (logs / name).open("wb")
        self.records = RecordWriter(self.file)
        self.write(Event(file_version="brain.Event:2"))
        self.write_spec(folder / RESOLVED_TOML)

    def write(self, event: Event) -> None:
        """Append an event to the file."""
        event.wall_time = time.time()
        self.records.write(event.SerializeToString())
        self.records.flush()

    def write_spec(self, path: Path) -> None:
        """Write the settings of the run as a text, if they can be read."""
        if not path.is_file():
            return
        text = "\n".join(f"    {line}" for line in path.read_text("utf-8").splitlines())
        metadata = SummaryMetadata(
            plugin_data=SummaryMetadata.PluginData(plugin_name="text"), summary_description=""
        )
        tensor = TensorProto(
            dtype=DT_STRING,
            tensor_shape=TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)]),
            string_val=[text.encode("utf-8")],
        )
        value = Summary.Value(tag="spec", metadata=metadata, tensor=tensor)
        self.write(Event(summary=Summary(value=[value])))

    def log(self, scalars: Scalars) -> None:
        """Log numbers of the run."""
        values = [
            Summary.Value(tag=name, simple_value=value) for name, value in scalars.named.items()
        ]
        self.write(Event(step=scalars.at, summary=Summary(value=values)))

    def close(self, results: dict[str, float], status: str) -> None:
        """Log the results and close the file."""
        if results:
            self.log(Scalars("result", 0, results))
        self.records.close()
