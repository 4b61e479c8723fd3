"""A spec shrunk until it ends within minutes: every stage and all classes, but less of everything.

First everything is reduced to sizes at which a curve still shows something. Then one thing after
another becomes smaller until the estimate for this machine fits: images, iterations and epochs,
alternating with the width of the network. With fewer images the experts' batches shrink too, so
that an epoch still has many steps; a student would overshoot the target of a shorter one.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ddspec.dsl.facts.datasets import DatasetFacts, known_facts, missing_facts, prepared
from ddspec.dsl.facts.machine import Machine
from ddspec.dsl.facts.network_sizes import FittedNetwork
from ddspec.dsl.key_path import dotted, leaves
from ddspec.dsl.plan.compiler import compile_spec
from ddspec.dsl.spec.experiment import Spec
from ddspec.dsl.spec.network import ConvNet
from ddspec.dsl.terms import NetworkName
from ddspec.dsl.toml_text import default_text

PREVIEW_SECONDS = 400.0
"""Longest estimated time of a preview; estimates are right within a factor of two."""

Values = dict[str, Any]
"""A spec as nested tables of plain values."""

Shrink = Callable[[Values], None]
"""Makes something smaller, in place."""


def preview_draft(spec: Spec, facts: DatasetFacts) -> Spec:
    """Return a preview before it is fitted to a machine; its errors are those of the spec."""
    if spec.preview:
        return spec
    values = spec.model_dump(mode="json", exclude_none=True)
    values["preview"] = ["..."]
    values["expect"] = []
    classes = prepared(facts, spec.dataset).classes
    return with_many_steps(Spec.model_validate(first_cut(values, classes)), spec, facts)


def preview_of(
    spec: Spec,
    facts: DatasetFacts,
    machine: Machine,
    measured: Mapping[NetworkName, FittedNetwork] | None = None,
) -> Spec:
    """Return the preview of a spec on images that were read; `preview` lists what was shrunk.

    The spec must have passed the checks of `preview_draft`.
    """
    if spec.preview:
        return spec
    small = preview_draft(spec, facts)
    for cut in CUTS:
        if estimated_seconds(small, facts, machine, measured) <= PREVIEW_SECONDS:
            break
        values = small.model_dump(mode="json", exclude_none=True)
        cut(values)
        small = with_many_steps(Spec.model_validate(values), spec, facts)
    most = max(facts.train_per_class)
    if spec.dataset.images_per_class is None and (small.dataset.images_per_class or 0) >= most:
        whole = small.dataset.model_copy(update={"images_per_class": None})
        small = small.model_copy(update={"dataset": whole})
    changes = [*lacking(spec, facts), *changed_settings(spec, small)]
    return small.model_copy(update={"preview": tuple(changes or ["nothing had to be shrunk"])})


STEPS_PER_EPOCH, SMALLEST_BATCH = 50, 16


def with_many_steps(small: Spec, spec: Spec, facts: DatasetFacts) -> Spec:
    """Shrink the experts' batches until an epoch has as many steps as before, or fifty."""
    whole = known_facts(spec.dataset) or facts
    before = whole.train_count / spec.experts.batch_size
    available = prepared(facts, small.dataset).train_count
    batch = max(SMALLEST_BATCH, int(available / min(before, STEPS_PER_EPOCH)))
    experts = small.experts.model_copy(update={"batch_size": min(batch, spec.experts.batch_size)})
    return small.model_copy(update={"experts": experts})


def estimated_seconds(
    spec: Spec,
    facts: DatasetFacts,
    machine: Machine,
    measured: Mapping[NetworkName, FittedNetwork] | None = None,
) -> float:
    """Return the estimated time without reading the images, which a preview cannot shorten."""
    plan = compile_spec(spec, facts, machine, measured)
    return sum(step.estimate.seconds for step in plan.steps if step.kind != "dataset")


def lacking(spec: Spec, facts: DatasetFacts) -> Iterator[str]:
    """Return in words what the available images lack of the dataset."""
    missing = missing_facts(spec.dataset.name, facts)
    if missing is not None:
        yield missing


def changed_settings(before: Spec, after: Spec) -> Iterator[str]:
    """Return every key that differs, by its dotted path, with both values."""
    old, new = settings_of(before), settings_of(after)
    for path in old | new:
        if old.get(path) != new.get(path) and path != "preview":
            if path == "expect":
                yield "expect: a preview is compared with no published number"
            else:
                shown = [default_text(side[path]) if path in side else "all" for side in (old, new)]
                yield f"{path}: {shown[0]} -> {shown[1]}"


def settings_of(spec: Spec) -> dict[str, Any]:
    """Return the values of a spec by dotted key."""
    dumped = spec.model_dump(mode="json", exclude_none=True)
    return {dotted(path): value for path, value in leaves(dumped)}


FIRST_EXPERTS, FIRST_EPOCHS, FIRST_ITERATIONS = 3, 8, 100
FIRST_EVALUATION_EPOCHS, FIRST_REPEATS, FIRST_FULL_EPOCHS = 400, 2, 10


def first_cut(values: Values, classes: int) -> Values:
    """Reduce experts, epochs, iterations, evaluations and repeats in proportion.

    If classes are missing, a student's batch is at most as large as the remaining set.
    """
    if "batch_syn" in values["matching"]:
        at_most(values["matching"], "batch_syn", max(1, values["synthetic"]["ipc"] * classes))
    fewer_experts(values, FIRST_EXPERTS)
    fewer_epochs(values, FIRST_EPOCHS)
    fewer_iterations(values, FIRST_ITERATIONS)
    # With few steps a student overshoots sooner, but a preview must reach every stage.
    learned = values["matching"]["objective"] == "trajectory"
    if learned and values["synthetic"]["student_lr"]["positivity"] == "stop":
        values["synthetic"]["student_lr"]["positivity"] = "hold"
    at_most(values["evaluation"], "repeats", FIRST_REPEATS)
    at_most(values["evaluation"], "epochs", FIRST_EVALUATION_EPOCHS)
    full_data = values["evaluation"].get("full_data")
    if full_data:
        at_most(full_data, "epochs", FIRST_FULL_EPOCHS)
        at_most(full_data, "repeats", 1)
    return values


def at_most(table: Values, key: str, most: int) -> None:
    """Reduce a value to an upper bound."""
    table[key] = min(table[key], most)


def fewer_experts(values: Values, count: int) -> None:
    """Reduce the experts, and those that images and labels ask for."""
    at_most(values["experts"], "count", count)
    for table in (values["synthetic"]["init"], values["synthetic"]["labels"]):
        if table.get("experts"):
            at_most(table, "experts", count)
        if "expert" in table:
            at_most(table, "expert", count - 1)


def fewer_epochs(values: Values, epochs: int) -> None:
    """Reduce the experts' epochs, and all keys that count in them."""
    experts = values["experts"]
    share = epochs / experts["epochs"]
    if share >= 1:
        return
    experts["epochs"] = epochs
    decay, clipped = experts.get("lr_decay"), experts["smoothing"].get("clipped_loss")
    if decay:
        decay["epoch"] = max(1, min(epochs - 1, round(decay["epoch"] * share)))
    if clipped:
        clipped["epochs"] = max(1, min(epochs - 1, round(clipped["epochs"] * share)))
    order = experts.get("data_order")
    if order:
        order["all_from_epoch"] = round(order["all_from_epoch"] * share)
        order["drop_from_epochs"] = [round(e * share) for e in order["drop_from_epochs"]]
        at_most(order["score"], "epochs", max(1, epochs // 2))
        at_most(order["score"], "networks", FIRST_EXPERTS)
    if values["trajectory"]["type"] == "convex":
        at_most(values["trajectory"], "waypoints", max(2, epochs // 2))
    if values["trajectory"]["type"] == "bezier":
        at_most(values["trajectory"], "epochs", math.ceil(share * values["trajectory"]["epochs"]))
    if values["matching"]["objective"] == "trajectory":
        shorter_windows(values["matching"], epochs, share)


def shorter_windows(matching: Values, epochs: int, share: float) -> None:
    """Fit windows into trajectories of `epochs` epochs, a `share` of those before."""
    window = matching["expert_epochs"]
    if window > epochs / 2:
        matching["expert_epochs"] = type(window)(max(1, epochs // 2))
    reach = math.ceil(matching["expert_epochs"])
    last_start = epochs - reach + 1
    bound = max(1, min(last_start, round(matching["max_start_epoch"] * share)))
    first = min(bound - 1, int(matching["min_start_epoch"] * share))
    starts = matching["start_range"]
    if starts["name"] == "growing":
        bound = max(2, bound)
        first = min(first, bound - 2)
        grown = round(starts["first_bound"] * share)
        starts["first_bound"] = max(first + 1, min(bound - 1, grown))
    matching["max_start_epoch"], matching["min_start_epoch"] = bound, first
    balanced = matching.get("balanced_inner_loss")
    if balanced and "mid" in balanced:
        balanced["mid"] *= share


def fewer_iterations(values: Values, iterations: int) -> None:
    """Reduce the iterations, and all keys that count in them; three sets are evaluated."""
    matching = values["matching"]
    share = iterations / matching["iterations"] if matching["iterations"] else 1.0
    if share < 1:
        matching["iterations"] = iterations
        starts = matching.get("start_range")
        if starts and starts["name"] == "growing":
            starts["iterations"] = max(1, round(starts["iterations"] * share))
        decay = values["synthetic"]["images"].get("lr_decay")
        if decay and decay["name"] == "cosine":
            decay["iterations"] = max(1, round(decay["iterations"] * share))
        elif decay:
            drops = {max(1, round(drop * share)) for drop in decay["iterations"]}
            decay["iterations"] = sorted(drops)
    every = -(-matching["iterations"] // 2)
    values["evaluation"]["every"] = max(1, every)


def shrink_images(count: int) -> Shrink:
    """Return the step to at most so many training images per class, and at least ipc."""

    def cut(values: Values) -> None:
        least = max(count, 2 * values["synthetic"]["ipc"])
        asked = values["dataset"].get("images_per_class", least)
        values["dataset"]["images_per_class"] = min(asked, least)

    return cut


def shrink_iterations(count: int) -> Shrink:
    """Return the step to at most so many iterations."""
    return lambda values: fewer_iterations(values, count)


def shrink_evaluation_epochs(count: int) -> Shrink:
    """Return the step to at most so many epochs of evaluation."""
    return lambda values: at_most(values["evaluation"], "epochs", count)


def shrink_experts(count: int) -> Shrink:
    """Return the step to at most so many experts."""
    return lambda values: fewer_experts(values, count)


def shrink_epochs(count: int) -> Shrink:
    """Return the step to at most so many epochs of experts."""
    return lambda values: fewer_epochs(values, count)


def shrink_width(channels: int) -> Shrink:
    """Return the step to a ConvNet of at most so many channels; other networks have one size."""

    def cut(values: Values) -> None:
        if values["network"]["name"] == ConvNet().name:
            at_most(values["network"], "width", channels)

    return cut


def shrink_student(steps: int, batch: int) -> Shrink:
    """Return the step to at most so many steps in an iteration.

    That is a student's steps, on at most `batch` images, or pixel steps and network epochs.
    """

    def cut(values: Values) -> None:
        matching = values["matching"]
        if matching["objective"] == "performance":
            shorter_windows_of_students(matching, steps, batch)
            return
        if matching["objective"] == "kernel":
            at_most(matching, "real_images", 4 * batch)
            at_most(matching["pool"], "batch_size", batch)
            return
        if matching["objective"] != "trajectory":
            shorter_loops(matching, steps)
            return
        least = math.ceil(matching["expert_epochs"])
        at_most(matching, "syn_steps", max(steps, least))
        if "batch_syn" in matching:
            at_most(matching, "batch_syn", batch)

    return cut


def shorter_windows_of_students(matching: Values, steps: int, batch: int) -> None:
    """Reduce the steps of students whose loss on real images is reduced, and these images."""
    at_most(matching, "window", steps)
    at_most(matching["free_steps"], "most", steps)
    at_most(matching["free_steps"], "least", steps)
    at_most(matching, "real_images", 4 * batch)


def shorter_loops(matching: Values, steps: int) -> None:
    """Reduce the pixel steps of an iteration, and the network epochs between them."""
    loops = matching if "outer_steps" in matching else matching.get("schedule", {})
    for name in ("outer_steps", "network_epochs"):
        if name in loops:
            at_most(loops, name, steps)
    if "window" in loops:
        at_most(loops, "window", max(2, steps))
        at_most(loops, "query_per_class", 10 * steps)
        for name in ("max_pixel_steps", "max_network_epochs"):
            at_most(loops, name, 2 * steps)


def keep_first_network(values: Values) -> None:
    """Keep only the first evaluation network."""
    values["evaluation"]["networks"] = values["evaluation"]["networks"][:1]


CUTS: tuple[Shrink, ...] = (
    shrink_images(200),
    shrink_iterations(80),
    shrink_width(64),
    shrink_images(100),
    shrink_evaluation_epochs(300),
    shrink_iterations(60),
    shrink_width(32),
    shrink_experts(2),
    shrink_evaluation_epochs(200),
    keep_first_network,
    shrink_images(50),
    shrink_width(16),
    shrink_evaluation_epochs(150),
    shrink_iterations(40),
    shrink_student(20, 256),
    shrink_evaluation_epochs(100),
    shrink_images(25),
    shrink_evaluation_epochs(50),
    shrink_iterations(20),
    shrink_epochs(5),
    shrink_student(10, 128),
    shrink_evaluation_epochs(20),
    shrink_images(10),
    shrink_iterations(10),
    shrink_width(8),
    shrink_epochs(3),
    shrink_evaluation_epochs(5),
    shrink_student(4, 64),
)
"""The reductions in their order; if all are not enough, the preview takes longer."""
