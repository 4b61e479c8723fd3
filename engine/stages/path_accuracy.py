"""Test accuracy along convexified trajectories, epoch by epoch.

MCT (arXiv:2406.19827) argues with it: accuracy rises along the convexified path, while it
fluctuates along the expert's own trajectory.
"""

import numpy as np

from ddspec.dsl.plan.steps import PathStep, TrajectoryStep, member_preimage
from ddspec.engine.control import Progress
from ddspec.engine.machine.stopwatch import Stopwatch
from ddspec.engine.stages.context import StageContext
from ddspec.engine.stages.windows import ConvexLine
from ddspec.engine.store.provenance import Provenance
from ddspec.engine.training.epoch import measure_accuracy


def measure_path_accuracy(step: PathStep, source: TrajectoryStep, context: StageContext) -> None:
    """Test every convexified trajectory at every epoch, from the initialisation on."""
    net = context.network(source.recipe.network)
    data, total = context.data, len(step.members)
    for position, member in enumerate(step.members):
        if context.store.has("path", member.digest):
            continue
        stopwatch = Stopwatch(step.route)
        trajectory = source.members[position].digest
        with context.store.open("trajectory", trajectory) as file:
            line = ConvexLine.of(file, step.trajectory, source.epochs, net.sizes, context.device)
            accuracies = [
                measure_accuracy(net, line.at(float(epoch)), data.test_images, data.test_labels)
                for epoch in range(source.epochs + 1)
            ]
        preimage = member_preimage(step.preimage, member.number)
        made = Provenance().then(stopwatch.work())
        context.store.put("path", preimage, {"accuracy": np.array(accuracies)}, made)
        progress = Progress(step.id, position + 1, total, {"accuracy": accuracies[-1]})
        context.control.report(progress)
        context.control.saved()
