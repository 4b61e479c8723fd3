"""Test accuracy along the paths in place of trajectories, epoch by epoch.

MCT (arXiv:2406.19827) argues with it: accuracy rises along the convexified path, while it
fluctuates along the expert's own trajectory.
"""

import numpy as np

from ddspec.dsl.plan.steps import Member, PathStep, TrajectoryStep, member_preimage
from ddspec.engine.control import Progress
from ddspec.engine.machine.stopwatch import Stopwatch
from ddspec.engine.stages.context import StageContext
from ddspec.engine.stages.windows import path_in
from ddspec.engine.store.provenance import Provenance
from ddspec.engine.store.trajectory_file import trajectory_digest
from ddspec.engine.training.epoch import measure_accuracy


def measure_path_accuracy(
    step: PathStep, path: Member, source: TrajectoryStep, context: StageContext
) -> None:
    """Test the path of one expert at every epoch, from the initialisation on."""
    if context.store.has("path", path.digest):
        return
    stopwatch, data = Stopwatch(step.route), context.data
    net = context.network(source.recipe.network)
    with context.store.open("trajectory", trajectory_digest(source, path.number)) as file:
        along = path_in(file, step.trajectory, source.epochs, net.sizes, context.device)
        accuracies = [
            measure_accuracy(net, along.at(float(epoch)), data.test_images, data.test_labels)
            for epoch in range(source.epochs + 1)
        ]
    preimage = member_preimage(step.preimage, path.number)
    made = Provenance().then(stopwatch.work())
    context.store.put("path", preimage, {"accuracy": np.array(accuracies)}, made)
    context.control.report(Progress(step.id, 1, 1, {"accuracy": accuracies[-1]}))
    context.control.saved()
