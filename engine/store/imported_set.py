"""Synthetic sets that were made elsewhere, as artifacts of a store.

An artifact holds the arrays `images` (n, c, h, w) and `labels` ((n,) classes, or (n, classes)
probabilities), ordered by class, as the set's author saved them. Its preimage says how they are to
be understood: space of the pixels, order of the classes, learning rate.
"""

# This module imports no torch.

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ddspec.dsl.diagnostics import StoreError
from ddspec.dsl.digest import Preimage, digest
from ddspec.dsl.plan.steps import Plan
from ddspec.dsl.record.synthetic_set import ImportedSet
from ddspec.dsl.spec.dataset import zca_key
from ddspec.dsl.spec.objectives.classes import ClassMatching
from ddspec.dsl.spec.synthetic import Imported
from ddspec.dsl.terms import WHITENED
from ddspec.dsl.toml_text import toml_text
from ddspec.engine.store.hdf5_file import read_text_attribute
from ddspec.engine.store.provenance import Provenance
from ddspec.engine.store.store import Store

Images = NDArray[np.float32]
Labels = NDArray[np.int64] | NDArray[np.float32]

ORIGIN = ("files", "iteration", "partition", "source")
"""Fields of ImportedSet that say where a set comes from."""

NOT_IN_NAME = ("name", *ORIGIN)
"""Fields of ImportedSet that do not name a set."""


def array_sha256(array: NDArray[Any]) -> str:
    """Return the SHA-256 of an array's shape, type and numbers."""
    little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    head = f"{little.dtype.str} {little.shape} ".encode()
    return hashlib.sha256(head + little.tobytes()).hexdigest()


def set_preimage(fields: Mapping[str, Any]) -> Preimage:
    """Return the preimage of a set by the fields of its ImportedSet."""
    return {"imported_set": {k: v for k, v in fields.items() if k not in NOT_IN_NAME}}


def named_set(fields: Mapping[str, Any]) -> ImportedSet:
    """Return the description of a set under the name that its fields give it."""
    draft = ImportedSet.model_validate({**fields, "name": "0" * 32})
    dumped = draft.model_dump(mode="json")
    return draft.model_copy(update={"name": digest(set_preimage(dumped))})


def put_set(store: Store, described: ImportedSet, images: Images, labels: Labels) -> None:
    """Write a set into a store; a set of that name is replaced by the same content."""
    fields = described.model_dump(mode="json")
    origin = json.dumps({name: fields[name] for name in ORIGIN})
    arrays: dict[str, NDArray[Any]] = {"images": images, "labels": labels}
    store.put("imported_set", set_preimage(fields), arrays, Provenance(), {"origin": origin})


def description_in(file: h5py.File) -> ImportedSet:
    """Return what an open artifact says of its set."""
    fields = json.loads(read_text_attribute(file, "preimage"))["imported_set"]
    origin = json.loads(read_text_attribute(file, "origin"))
    return named_set({**fields, **origin})


def read_description(store: Store, name: str) -> ImportedSet:
    """Return what is known of a set; raise StoreError if the store does not have it."""
    if not store.has("imported_set", name):
        raise StoreError(
            f"the synthetic set {name} is not in this store",
            hint="ddspec import --synthetic FILE --dataset NAME puts it there; the spec or the "
            "report that names it says where it comes from",
        )
    with store.open("imported_set", name) as file:
        return description_in(file)


def read_set(store: Store, name: str) -> tuple[ImportedSet, Images, Labels]:
    """Return a set with its images and labels; raise StoreError if the store does not have it."""
    described = read_description(store, name)
    with store.open("imported_set", name) as file:
        return described, file["images"][()], file["labels"][()]


def check_imported_set(plan: Plan, store: Store) -> None:
    """Raise StoreError if a plan's imported set is missing or does not fit the plan."""
    init = plan.distill.synthetic.init
    if not isinstance(init, Imported):
        return
    described = read_description(store, init.set)
    for problem, hint in misfits(plan, described):
        raise StoreError(f"the synthetic set {init.set} {problem}", hint=hint)


def misfits(plan: Plan, described: ImportedSet) -> Iterator[tuple[str, str]]:
    """Yield what of a set does not fit a plan, each with its remedy."""
    facts, ipc = plan.dataset.facts, plan.distill.synthetic.ipc
    shape, wanted = ((s.channels, s.height, s.width) for s in (described, facts))
    if shape != wanted:
        yield (
            f"has images of {shape_text(shape)}, but those of the spec have {shape_text(wanted)}",
            "set dataset.resolution to the side of its images, or evaluate it on its dataset",
        )
    if described.classes != facts.classes:
        yield (
            f"has {described.classes} classes, but the dataset of the spec has {facts.classes}",
            "choose the dataset, or dataset.classes, that it was made for",
        )
    elif described.class_names and set(described.class_names) != set(facts.class_names):
        other = min(set(described.class_names) - set(facts.class_names))
        yield (
            f'has the class "{other}", which the dataset of the spec does not have',
            f"classes of the dataset: {', '.join(facts.class_names)}"[:300],
        )
    if described.ipc != ipc:
        yield (
            f"has {described.ipc} images per class, but the spec says {ipc}",
            f"set synthetic.ipc = {described.ipc}",
        )
    yield from misfits_of_use(plan, described)


def misfits_of_use(plan: Plan, described: ImportedSet) -> Iterator[tuple[str, str]]:
    """Yield why a set cannot be used as a plan asks: as whitened, without a rate, soft."""
    distill, form = plan.distill, plan.dataset.dataset.whitening
    forms = {space: form for form, space in WHITENED.items()}
    own = forms.get(described.pixels.name)
    if own != form:
        yield (
            f"has pixels {described.pixels.text}, but the spec says "
            f"dataset.zca = {toml_text(zca_key(form))}",
            f"set dataset.zca = {toml_text(zca_key(own))}; networks must see real images as they "
            "saw the synthetic ones",
        )
    evaluation = plan.evaluations("distilled")[0].evaluation
    if described.student_lr is None and not evaluation.has_lr and not distill.iterations:
        yield (
            "brings no learning rate",
            "give evaluation.lr: the rate that its authors evaluate it with",
        )
    is_soft = described.labels == "soft"
    if is_soft and distill.iterations and isinstance(distill.matching, ClassMatching):
        yield (
            f"has soft labels, which objective {distill.matching.objective!r} cannot use",
            "such a set can be evaluated, or be the beginning of trajectory matching",
        )


def shape_text(shape: tuple[int, int, int]) -> str:
    """Return channels, height and width in words."""
    channels, height, width = shape
    return f"{channels} channel{'s' * (channels > 1)} and {height}x{width} pixels"
