"""The kinds of artifacts: how each is named, what it holds, and how much of it is stored.

| kind | named by | holds |
|---|---|---|
| dataset | fingerprint of all images | bytes of both splits, labels |
| whitening | fingerprint, choice of images | mean, eigenvalues and eigenvectors |
| scores | experts without an order, epochs, network | difficulty of every training image |
| expert | recipe, index | see `trajectory_file.py` |
| trajectory | recipe, epochs, index | see `trajectory_file.py` |
| path | trajectory, spacing | test accuracy at every epoch of what replaces a trajectory |
| synthetic | distillation, iteration | images, labels, student_lr, optimiser memory, series |
| imported_set | images, labels, their meaning | see `imported_set.py` |
| evaluation | settings, set | see `evaluation_file.py` |
| unfinished | what it will become | checkpoint, part of an evaluation, search of its rate |
"""

# This module imports no torch.

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, assert_never

from ddspec.dsl.available_memory import claim
from ddspec.dsl.digest import Preimage, digest
from ddspec.dsl.facts.datasets import view_of
from ddspec.dsl.plan.steps import (
    DatasetStep,
    DistillStep,
    EvaluateStep,
    ExpertsStep,
    InitialiseStep,
    PathStep,
    ScoresStep,
    Step,
    TrajectoryStep,
    member_preimage,
)
from ddspec.engine.numerics.whitening import ZCA_EPSILON, Whitening
from ddspec.engine.store.evaluation_file import (
    lr_search_preimage,
    part_digest,
    read_networks,
)
from ddspec.engine.store.store import ArtifactKind, Store
from ddspec.engine.store.trajectory_file import expert_epochs

SHOWN_CLASSES = 4
"""Number of classes whose clusters representative initialisation keeps for a picture."""


def image_preimage(fingerprint: str) -> Preimage:
    """Return the preimage of a dataset: its content, whatever normalisation a spec asks for."""
    return {"images": fingerprint}


def image_digest(fingerprint: str) -> str:
    """Return the digest of the artifact that holds the images of that fingerprint."""
    return digest(image_preimage(fingerprint))


WHITENING_HINT = (
    "whitening needs memory by the square of the pixels of an image: set dataset.zca = false, or "
    "a smaller dataset.resolution"
)
FEWER_NUMBERS_HINT = (
    "lower dataset.resolution or dataset.images_per_class, or name fewer dataset.classes"
)


def whitening_preimage(step: DatasetStep) -> Preimage:
    """Return the preimage of a whitening: the images that it is fitted on."""
    preimage: dict[str, Any] = {"whitening": step.facts.fingerprint, "epsilon": ZCA_EPSILON}
    form = step.dataset.whitening
    if form != "mtt":
        preimage["form"] = form
    if form == "frepo":
        preimage["std"] = list(step.facts.std)
    view = view_of(step.dataset)
    return {**preimage, "view": view} if view else preimage


def whitening_digest(step: DatasetStep) -> str:
    """Return the digest of the artifact that holds the whitening of those images."""
    return digest(whitening_preimage(step))


def read_whitening(store: Store, step: DatasetStep) -> Whitening:
    """Return the whitening that was fitted on those images."""
    name = whitening_digest(step)
    with store.open("whitening", name) as file:
        claim(3 * file["vectors"].nbytes, f"the whitening {name}.h5", WHITENING_HINT)
        values = file["values"][()]
        epsilon = ZCA_EPSILON * (1 if step.dataset.whitening == "mtt" else float(values.mean()))
        optional = (file[name][()] if name in file else None for name in ("scale", "contrast"))
        return Whitening(file["mean"][()], values, file["vectors"][()], epsilon, *optional)


def unfinished_preimage(preimage: Preimage) -> Preimage:
    """Return the preimage of the checkpoint of a distillation or of a member of a trajectory."""
    return {**preimage, "unfinished": True}


def unfinished_digests(step: Step) -> Iterator[str]:
    """Yield the digest of everything unfinished that a step may keep."""
    match step:
        case DistillStep():
            yield digest(unfinished_preimage(step.preimage))
        case TrajectoryStep():
            for member in step.members:
                preimage = member_preimage(step.preimage, member.number)
                yield digest(unfinished_preimage(preimage))
        case EvaluateStep():
            for member in step.members:
                for first in range(step.evaluation.repeats):
                    yield part_digest(step, member, first)
                if step.evaluation.lr_search is not None:
                    yield digest(lr_search_preimage(step, member.number))
        case _:
            pass


@dataclass(frozen=True)
class Artifact:
    """One artifact of a step, and how much of it is in the store."""

    kind: ArtifactKind
    digest: str
    number: int
    have: int
    """Epochs or networks in the store; of other kinds 1 if the artifact is stored, else 0."""
    want: int

    @property
    def complete(self) -> bool:
        """Return whether the artifact is complete."""
        return self.have >= self.want


def artifacts_of(step: Step, store: Store, only: int | None = None) -> Iterator[Artifact]:
    """Yield every artifact of a step, or that of one number, with how much of it is stored."""
    epochs = {m.digest: m.epochs for m in step.members} if isinstance(step, ExpertsStep) else {}
    for kind, name, number in artifact_names(step):
        if only is not None and number != only:
            continue
        match step:
            case ExpertsStep():
                have, want = max(0, expert_epochs(store, name)), epochs[name]
            case EvaluateStep():
                have, want = len(read_networks(store, name)), step.evaluation.repeats
            case _:
                have, want = int(store.has(kind, name)), 1
        yield Artifact(kind, name, number, have, want)


def artifact_names(step: Step) -> Iterator[tuple[ArtifactKind, str, int]]:
    """Yield kind, digest and number of every artifact of a step, stored or not."""
    kind: ArtifactKind
    match step:
        case DatasetStep():
            yield "dataset", image_digest(step.facts.fingerprint), 0
            if step.dataset.zca:
                yield "whitening", whitening_digest(step), 0
            return
        case InitialiseStep():
            yield "synthetic", step.digest, 0
            return
        case ScoresStep():
            kind = "scores"
        case ExpertsStep():
            kind = "expert"
        case TrajectoryStep():
            kind = "trajectory"
        case PathStep():
            kind = "path"
        case DistillStep():
            kind = "synthetic"
        case EvaluateStep():
            kind = "evaluation"
        case _:
            assert_never(step)
    yield from ((kind, member.digest, member.number) for member in step.members)
