"""Rules across keys: valid keys can still make an impossible experiment.

A rule about the dataset yields nothing while the dataset is unknown. It runs again once
the images have been read.
"""

from collections.abc import Iterator

from ddspec.dsl.diagnostics import Diagnostic
from ddspec.dsl.facts.datasets import DatasetFacts, known_facts, prepared
from ddspec.dsl.rules import data, evaluation, experts, objectives, synthetic, trajectory
from ddspec.dsl.rules.rule import Rule
from ddspec.dsl.spec.experiment import Spec


def check(spec: Spec, facts: DatasetFacts | None = None) -> Iterator[Diagnostic]:
    """Yield the findings of every rule, in the order of SOURCE_CHECKS and CHECKS.

    `facts` are those of all images of the dataset, once they have been read.
    """
    source = facts or known_facts(spec.dataset)
    for rule in SOURCE_CHECKS:
        yield from rule(spec, source)
    requested = prepared(source, spec.dataset) if source else None
    if requested is not None and requested.classes < 2:
        return  # Unknown classes are left out; `requested_classes_exist` has reported them.
    for rule in CHECKS:
        yield from rule(spec, requested)


SOURCE_CHECKS: tuple[Rule, ...] = (
    data.requested_classes_exist,
    data.dataset_complete,
    data.split_as_published,
    data.images_differ,
)
"""Rules about all images of the dataset."""

CHECKS: tuple[Rule, ...] = (
    trajectory.start_range_not_empty,
    trajectory.sgd_windows_have_whole_epochs,
    trajectory.windows_end_within_training,
    trajectory.convex_starts_before_end,
    objectives.evaluation_has_lr,
    objectives.student_lr_not_set,
    objectives.labels_fit_objective,
    objectives.regression_has_targets,
    objectives.squared_error_has_targets,
    objectives.trajectory_not_replaced,
    objectives.siamese_has_real_images,
    objectives.syn_per_class_within_ipc,
    objectives.free_steps_in_order,
    objectives.gradient_limit_given_once,
    objectives.layers_have_weights,
    objectives.schedule_fits_its_window,
    objectives.images_momentum_used,
    synthetic.partition_divides_images,
    synthetic.partitioned_images_have_classes,
    data.student_batch_within_synthetic_set,
    data.pooling_leaves_a_pixel,
    data.width_divisible_by_groups,
    data.images_large_enough,
    data.classes_have_ipc_images,
    data.public_statistics_differ,
    data.folder_has_root,
    data.root_within_data_folder,
    data.folder_keys_only_for_folder,
    data.identity_only_for_extensions,
    data.fit_needs_resolution,
    data.validation_images_held_out,
    data.training_images_left,
    data.experts_without_running_statistics,
    evaluation.expected_networks_evaluated,
    evaluation.evaluation_networks_distinct,
    evaluation.evaluations_within_limit,
    evaluation.learning_rate_given_once,
    evaluation.lr_search_has_held_out_images,
    experts.lr_decay_within_training,
    trajectory.waypoints_at_distinct_epochs,
    trajectory.smoothing_has_neighbours,
    trajectory.sampled_position_has_one_epoch,
    trajectory.forgetting_has_snapshots,
    experts.requested_experts_exist,
    experts.imported_experts_not_trained,
    experts.dropped_images_have_epochs,
    experts.clusters_within_ipc,
    trajectory.intermediate_window_has_whole_epochs,
    trajectory.intermediate_epochs_within_steps,
    trajectory.intermediate_matches_last_step,
    trajectory.first_bound_within_start_range,
    objectives.images_lr_decay_within_run,
    objectives.images_lr_fits_objective,
    experts.clipped_loss_reaches_full_weight,
    experts.soft_labels_start_from_real_images,
    experts.imported_set_keeps_its_labels,
    trajectory.growing_bound_reaches_maximum,
    trajectory.convex_windows_shorter_than_trajectory,
)
"""Rules about the images that a spec asks for."""
