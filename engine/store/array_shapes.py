"""The shapes and types that a plan expects of the arrays in its artifacts.

Checksums reveal damage, but not an artifact that another program wrote with other arrays. Such a
file would end in an error of torch or NumPy in the midst of a stage.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import h5py
import numpy as np

from ddspec.dsl.plan.steps import (
    DatasetStep,
    DistillStep,
    EvaluateStep,
    ExpertsStep,
    InitialiseStep,
    PathStep,
    Plan,
    ScoresStep,
    Step,
    TrajectoryStep,
)
from ddspec.dsl.spec.objectives.kernel import Kernel
from ddspec.engine.store.artifacts import artifact_names, unfinished_digests
from ddspec.engine.store.hdf5_file import SNAPSHOTS
from ddspec.engine.store.store import ArtifactKind, Store, damaged_artifact

Shape = tuple[int | None, ...]
"""A shape; None where any length is right."""


@dataclass(frozen=True)
class ArrayForm:
    """The shape and type that an array must have."""

    shape: Shape
    dtype: str = "float32"
    optional: bool = False
    """Whether an artifact may lack the array."""

    def fits(self, array: h5py.Dataset) -> bool:
        """Return whether an array has this form."""
        return (
            array.dtype == np.dtype(self.dtype)
            and len(array.shape) == len(self.shape)
            and all(
                want in (None, have) for have, want in zip(array.shape, self.shape, strict=True)
            )
        )


def check_plan(plan: Plan, store: Store) -> None:
    """Raise StoreError if a stored artifact of a plan has other arrays than it should have."""
    for step in plan.steps:
        check_step(step, plan, store)


def check_step(step: Step, plan: Plan, store: Store, only: int | None = None) -> None:
    """Raise StoreError if a stored artifact of a step has other arrays than it should have.

    Only the artifact of number `only` is looked at, unless that is None.
    """
    artifacts = [
        (kind, name) for kind, name, number in artifact_names(step) if only in (None, number)
    ]
    if only is None:
        artifacts += [("unfinished", name) for name in unfinished_digests(step)]
    for kind, name in artifacts:
        if not store.has(kind, name):
            continue
        with store.open(kind, name) as file:
            problem = wrong_array(file, forms_of(step, plan, kind, file))
        if problem:
            raise damaged_artifact(store.path(kind, name), problem)


def wrong_array(file: h5py.File, forms: Mapping[str, Iterable[ArrayForm]]) -> str:
    """Return what is wrong with the arrays of a file; an empty text if all fit."""
    for name, choices in forms.items():
        wanted = tuple(choices)
        if name not in file:
            if not wanted[0].optional:
                return f"has no array {name}"
        elif not any(form.fits(file[name]) for form in wanted):
            array, form = file[name], wanted[0]
            expected = "x".join("n" if n is None else str(n) for n in form.shape) or "one number"
            return (
                f"has an array {name} of shape {'x'.join(map(str, array.shape)) or 'one number'} "
                f"and type {array.dtype}, where the plan needs {expected} of {form.dtype}"
            )
    return ""


def forms_of(
    step: Step, plan: Plan, kind: ArtifactKind, file: h5py.File
) -> dict[str, tuple[ArrayForm, ...]]:
    """Return the forms of the arrays in an artifact of a step, any of which is right."""
    match step:
        case DatasetStep():
            single = dataset_forms(plan, file) if kind == "dataset" else whitening_forms(plan)
        case ScoresStep():
            single = {"scores": ArrayForm((plan.dataset.facts.train_count,), "float32")}
        case ExpertsStep() | TrajectoryStep():
            single = trajectory_forms(plan, kind, file)
        case PathStep():
            single = {"accuracy": ArrayForm((None,), "float64")}
        case InitialiseStep() | DistillStep():
            return synthetic_forms(plan, isinstance(step, DistillStep))
        case EvaluateStep():
            count = length_of(file, "values")
            single = {
                "values": ArrayForm((None,), "float64"),
                "finite": ArrayForm((count,), "bool"),
                "validation": ArrayForm((count,), "float64", optional=True),
            }
    return {name: (form,) for name, form in single.items()}


def dataset_forms(plan: Plan, file: h5py.File) -> dict[str, ArrayForm]:
    """Return the forms of stored images and their labels."""
    facts = plan.dataset.facts
    forms = {}
    for split in ("train", "test"):
        count = length_of(file, f"{split}_labels")
        shape = (count, facts.channels, facts.height, facts.width)
        forms[f"{split}_images"] = ArrayForm(shape, "uint8")
        forms[f"{split}_labels"] = ArrayForm((None,), "int64")
    return forms


def whitening_forms(plan: Plan) -> dict[str, ArrayForm]:
    """Return the forms of a whitening."""
    facts = plan.dataset.facts
    pixels = facts.channels * facts.height * facts.width
    return {
        "mean": ArrayForm((pixels,), "float64"),
        "values": ArrayForm((pixels,), "float64"),
        "vectors": ArrayForm((pixels, pixels)),
        "scale": ArrayForm((pixels,), "float64", optional=True),
        "contrast": ArrayForm((2,), "float64", optional=True),
    }


def trajectory_forms(plan: Plan, kind: ArtifactKind, file: h5py.File) -> dict[str, ArrayForm]:
    """Return the forms of an expert, of a path in its place, or of an unfinished one."""
    size = plan.network_parameters
    epochs = length_of(file, "train_loss")
    rows = None if epochs is None or kind != "expert" else epochs + 1
    if kind == "trajectory" and plan.surrogates is not None:
        rows = plan.surrogates.models
    forms = {
        SNAPSHOTS: ArrayForm((rows, size)),
        "train_loss": ArrayForm((None,), "float64"),
        "train_accuracy": ArrayForm((epochs,), "float64"),
        "test_accuracy": ArrayForm((epochs,), "float64"),
        "step_length": ArrayForm((epochs, None), "float64"),
    }
    if kind == "trajectory":
        return {
            **forms,
            "end": ArrayForm((size,), optional=True),
            "curve_loss": ArrayForm((None,), "float64", optional=True),
        }
    return {
        **forms,
        "kept": ArrayForm((None,), "int64", optional=True),
        "velocity": ArrayForm((size,)),
        "second": ArrayForm((size,), optional=True),
    }


def synthetic_forms(plan: Plan, is_distilled: bool) -> dict[str, tuple[ArrayForm, ...]]:
    """Return the forms of a synthetic set, with the optimiser's memory if it was distilled."""
    facts = plan.dataset.facts
    count = facts.classes * plan.distill.synthetic.ipc
    images: Shape = (count, facts.channels, facts.height, facts.width)
    soft: Shape = (count, facts.classes)
    forms: dict[str, tuple[ArrayForm, ...]] = {
        "images": (ArrayForm(images),),
        "labels": (ArrayForm((count,), "int64"), ArrayForm(soft)),
        "label_logits": (ArrayForm(soft, optional=True),),
    }
    if not is_distilled:
        return forms
    return {
        **forms,
        "images_velocity": (ArrayForm(images),),
        "images_second": (ArrayForm(images, optional=True),),
        "class_losses": (ArrayForm((facts.classes,), optional=True),),
        "images_learned": (ArrayForm(images, optional=True),),
        "label_logits_second": (ArrayForm(soft, optional=True),),
        "label_logits_velocity": (ArrayForm(soft, optional=True),),
        "student_lr": (ArrayForm(()),),
        "student_lr_velocity": (ArrayForm(()),),
        **pool_forms(plan),
    }


def pool_forms(plan: Plan) -> dict[str, tuple[ArrayForm, ...]]:
    """Return the forms of the networks in training of a checkpoint."""
    matching = plan.distill.matching
    if not isinstance(matching, Kernel):
        return {}
    count, size = matching.pool.networks, plan.network_parameters
    rows = ArrayForm((count, size), optional=True)
    numbers = ArrayForm((count,), "int64", optional=True)
    vectors = {f"pool_{name}": (rows,) for name in ("parameters", "velocity", "second")}
    return {**vectors, "pool_steps": (numbers,), "pool_ages": (numbers,)}


def length_of(file: h5py.File, name: str) -> int | None:
    """Return the length of a row of numbers, which others must share; None if it is not a row."""
    shape: tuple[int, ...] = file[name].shape if name in file else ()
    return int(shape[0]) if len(shape) == 1 else None
