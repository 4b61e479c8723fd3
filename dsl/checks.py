"""Rules across keys: what each key allows alone, but the experiment as a whole does not.

`CHECKS` is the order. A rule about the dataset is silent where it is not known yet; it runs again
when the images have been read.
"""

from collections.abc import Callable, Iterator

from ddspec.dsl import rules_data, rules_evaluation, rules_experts, rules_trajectory
from ddspec.dsl.datasets import KNOWN, DatasetFacts
from ddspec.dsl.diagnostics import Diagnostic
from ddspec.dsl.spec import Spec

Rule = Callable[[Spec, DatasetFacts | None], Iterator[Diagnostic]]


def check(spec: Spec, facts: DatasetFacts | None = None) -> Iterator[Diagnostic]:
    """Every finding of every rule."""
    facts = facts or KNOWN.get(spec.dataset.name)
    for rule in CHECKS:
        yield from rule(spec, facts)


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
    rules_evaluation.expected_network,
    rules_evaluation.distinct_networks,
    rules_evaluation.kept_sets,
    rules_experts.unreachable_decay,
    rules_trajectory.waypoints_apart,
    rules_trajectory.neighbours_there,
    rules_trajectory.invertible_spacing,
    rules_trajectory.snapshots_kept,
    rules_experts.experts_there,
    rules_experts.clusters_filled,
    rules_trajectory.intermediate_points,
    rules_trajectory.growing_range,
    rules_experts.loss_reaches_one,
    rules_experts.labels_know_the_class,
    rules_trajectory.bound_grows_to_its_end,
    rules_trajectory.window_on_the_line,
)
