"""Summaries of synthetic sets for the record: extremes, soft labels, clusters."""

import numpy as np

from ddspec.dsl.plan.steps import Plan
from ddspec.dsl.record.record import Results
from ddspec.dsl.record.synthetic_set import (
    ClassLosses,
    ClusterPicture,
    ImportedSet,
    SetExtremes,
    SoftLabels,
)
from ddspec.dsl.spec.synthetic import (
    Imported,
    LearnedLabels,
    RegressionLabels,
    UnnormalizedLabels,
)
from ddspec.engine.run.run_folder import chosen_iteration, stored_sets
from ddspec.engine.store.imported_set import read_description
from ddspec.engine.store.store import Store


def chosen_set(plan: Plan, store: Store, results: Results) -> str | None:
    """Return the digest of the set in synthetic.h5; None if there is none."""
    sets = stored_sets(plan, store)
    if not sets:
        return None
    return sets[chosen_iteration(results, list(sets))]


NO_PROBABILITIES = UnnormalizedLabels | RegressionLabels
"""Labels whose entries are no shares of an image."""

LARGEST_NUMBER = float(np.finfo(np.float32).max)


def set_extremes(plan: Plan, store: Store, results: Results) -> SetExtremes | None:
    """Return the extremes of the chosen set; None without a set."""
    name = chosen_set(plan, store, results)
    if name is None:
        return None
    with store.open("synthetic", name) as file:
        images, labels = file["images"][()], file["labels"][()]
    learned = isinstance(plan.distill.synthetic.labels, LearnedLabels) and labels.ndim == 2
    # A last update may overflow; a record holds finite numbers only.
    finite = np.nan_to_num(
        images, nan=LARGEST_NUMBER, posinf=LARGEST_NUMBER, neginf=-LARGEST_NUMBER
    )
    return SetExtremes(
        lowest_pixel=float(finite.min()),
        highest_pixel=float(finite.max()),
        least_certain_label=float(labels.max(axis=1).min()) if learned else None,
    )


def class_losses(plan: Plan, store: Store, results: Results) -> ClassLosses | None:
    """Return the matching loss of each class at the chosen set, if classes are compared."""
    name = chosen_set(plan, store, results)
    if name is None:
        return None
    with store.open("synthetic", name) as file:
        if "class_losses" not in file:
            return None
        values = tuple(map(float, file["class_losses"][()]))
        return ClassLosses(iteration=int(file.attrs["iteration"]), values=values)


def imported_set(plan: Plan, store: Store) -> ImportedSet | None:
    """Return what is known of the set that the run begins from, if it was imported."""
    init = plan.distill.synthetic.init
    if not isinstance(init, Imported) or not store.has("imported_set", init.set):
        return None
    return read_description(store, init.set)


def clusters(plan: Plan, store: Store) -> tuple[ClusterPicture, ...]:
    """Return the clusters of the first classes; empty if k-means was not used."""
    initial = plan.initialise
    if not store.has("synthetic", initial.digest):
        return ()
    with store.open("synthetic", initial.digest) as file:
        if "cluster_points" not in file:
            return ()
        points, numbers, chosen, classes = (
            file[f"cluster_{key}"][()] for key in ("points", "number", "chosen", "class")
        )
    return tuple(
        ClusterPicture(
            label=int(label),
            x=tuple(round(float(value), 4) for value in points[classes == label, 0]),
            y=tuple(round(float(value), 4) for value in points[classes == label, 1]),
            cluster=tuple(map(int, numbers[classes == label])),
            chosen=tuple(map(int, np.flatnonzero(chosen[classes == label]))),
        )
        for label in np.unique(classes)
    )


def soft_labels(plan: Plan, store: Store, results: Results) -> SoftLabels | None:
    """Return a summary of the chosen set's soft labels; None if labels are classes."""
    name = chosen_set(plan, store, results)
    if name is None:
        return None
    with store.open("synthetic", name) as file:
        labels = file["labels"][()]
    if labels.ndim == 1 or isinstance(plan.distill.synthetic.labels, NO_PROBABILITIES):
        return None
    means = labels.reshape(labels.shape[1], -1, labels.shape[1]).mean(axis=1)
    of_class = np.diag(means).copy()
    np.fill_diagonal(means, -1)
    return SoftLabels(
        own=tuple(map(float, of_class)),
        other=tuple(map(int, means.argmax(1))),
        other_share=tuple(map(float, means.max(1))),
    )
