"""Test accuracy along convexified trajectories, epoch by epoch.

MCT (arXiv:2406.19827) predicts with it: along the convexified path accuracy rises where along the
expert's own trajectory it wavers.
"""

import time

import numpy as np

from ddspec.dsl.plan.steps import PathStep, TrajectoryStep, member_preimage
from ddspec.engine.control import Progress
from ddspec.engine.stages.context import Bench
from ddspec.engine.stages.windows import Line
from ddspec.engine.store.store import Provenance
from ddspec.engine.training.epoch import test


def walk_path(step: PathStep, source: TrajectoryStep, bench: Bench) -> None:
    """Test every expert's convexified trajectory at every epoch, from the initialisation on."""
    net = bench.network(source.recipe.network)
    data, total = bench.data, len(step.members)
    for position, member in enumerate(step.members):
        if bench.store.has("path", member.digest):
            continue
        began = time.monotonic()
        trajectory = source.members[position].digest
        with bench.store.open("trajectory", trajectory) as file:
            line = Line.of(file, step.trajectory, source.epochs, net.sizes, bench.device)
            values = [
                test(net, line.at(float(epoch)), data.test_images, data.test_labels)
                for epoch in range(source.epochs + 1)
            ]
        preimage = member_preimage(step.preimage, member.number)
        made = Provenance().then(step.route, time.monotonic() - began)
        bench.store.put("path", preimage, {"accuracy": np.array(values)}, made)
        bench.control.report(Progress(step.id, position + 1, total, {"accuracy": values[-1]}))
        bench.control.saved()
