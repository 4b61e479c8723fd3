"""Rules across keys: what each key allows alone, but the experiment as a whole does not.

`CHECKS` is the order. A rule about the dataset is silent where it is not known yet; it runs again
when the images have been read.
"""

from collections.abc import Callable, Iterator

from ddspec.dsl.diagnostics import Diagnostic
from ddspec.dsl.facts.datasets import DatasetFacts, known_facts, prepared
from ddspec.dsl.rules import data as rules_data
from ddspec.dsl.rules import evaluation as rules_evaluation
from ddspec.dsl.rules import experts as rules_experts
from ddspec.dsl.rules import trajectory as rules_trajectory
from ddspec.dsl.spec.experiment import Spec

Rule = Callable[[Spec, DatasetFacts | None], Iterator[Diagnostic]]


def check(spec: Spec, facts: DatasetFacts | None = None) -> Iterator[Diagnostic]:
    """Every finding of every rule; `facts` are those of all images of the source."""
    source = facts or known_facts(spec.dataset)
    for rule in SOURCE_CHECKS:
        yield from rule(spec, source)
    asked = prepared(source, spec.dataset) if source else None
    if asked is not None and asked.classes < 2:
        return  # What is wrong with the classes was said.
    for rule in CHECKS:
        yield from rule(spec, asked)


SOURCE_CHECKS: tuple[Rule, ...] = (rules_data.requested_classes_exist, rules_data.whole_dataset)
"""Rules about all images of the source."""

CHECKS: tuple[Rule, ...] = (
    rules_trajectory.start_range,
    rules_trajectory.fractional_window,
    rules_trajectory.window,
    rules_trajectory.convex_start,
    rules_data.synthetic_batch,
    rules_data.network_depth,
    rules_data.group_norm_width,
    rules_data.images_large_enough,
    rules_data.images_per_class,
    rules_data.statistics_read,
    rules_data.folder_root,
    rules_data.folder_keys,
    rules_data.fit_read,
    rules_data.held_out_images,
    rules_data.experts_without_statistics,
    rules_evaluation.expected_network,
    rules_evaluation.distinct_networks,
    rules_evaluation.kept_sets,
    rules_experts.unreachable_decay,
    rules_trajectory.waypoints_apart,
    rules_trajectory.neighbours_there,
    rules_trajectory.invertible_spacing,
    rules_trajectory.snapshots_kept,
    rules_experts.experts_there,
    rules_experts.imported_are_not_trained,
    rules_experts.clusters_filled,
    rules_trajectory.intermediate_points,
    rules_trajectory.growing_range,
    rules_experts.loss_reaches_one,
    rules_experts.labels_know_the_class,
    rules_trajectory.bound_grows_to_its_end,
    rules_trajectory.window_on_the_line,
)
"""Rules about the images that a spec asks for."""
