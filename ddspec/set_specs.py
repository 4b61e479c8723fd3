"""Specs that evaluate a synthetic set: an imported one, or that of a run that is shared."""

import re
import shutil
import tempfile
from pathlib import Path
from typing import Any, get_args

import tomli_w

from ddspec.dsl.atomic_write import atomic_file, write_text
from ddspec.dsl.diagnostics import RecordError, StoreError
from ddspec.dsl.digest import DIGEST
from ddspec.dsl.facts.datasets import known_facts, prepared
from ddspec.dsl.record.file_names import SPEC_TOML, SYNTHETIC_H5
from ddspec.dsl.record.record import Accuracy, Record
from ddspec.dsl.record.synthetic_set import ImportedSet
from ddspec.dsl.spec.dataset import Dataset, zca_key
from ddspec.dsl.spec.evaluation import PROTOCOL_VALUES
from ddspec.dsl.spec.experiment import resolved
from ddspec.dsl.terminal_text import escape_text
from ddspec.dsl.terms import WHITENED, DatasetName, ImageNetSubset, Protocol
from ddspec.dsl.toml_text import toml_text
from ddspec.recorded_spec import described_spec

SET_H5 = "set.h5"
"""The synthetic set in a shared folder."""

DEEPER: dict[str, int] = {
    "digits": 2,
    "tiny_imagenet": 4,
    **dict.fromkeys(get_args(ImageNetSubset), 5),
}
"""Depth of the field's ConvNet on images of other sizes than 28 or 32 pixels; there it is 3."""

SIGNS: tuple[str, ...] = ("digits", "mnist", "svhn")
"""Datasets of signs, which a flip turns into others."""


def init_of(imported: ImportedSet) -> dict[str, Any]:
    """Return the value of synthetic.init that begins from a set."""
    init: dict[str, Any] = {"name": "imported", "set": imported.name}
    return init | ({"iteration": imported.iteration} if imported.iteration else {})


def spec_for_stored_set(
    name: str, dataset: DatasetName | None, protocol: Protocol, store: Path
) -> str:
    """Return the text of a spec that evaluates a set in a store.

    Raises StoreError if the store does not have it, or if it was made for another dataset.
    """
    from ddspec.engine.store.imported_set import read_description
    from ddspec.engine.store.store import Store

    if not re.fullmatch(DIGEST, name):
        raise StoreError(
            f"{name[:100]!r} is not the name of a set",
            hint="ddspec import --synthetic prints it: 32 hexadecimal digits",
        )
    imported = read_description(Store(store), name)
    if dataset not in (None, imported.dataset):
        raise StoreError(f"the set {name} was imported for {imported.dataset}, not for {dataset}")
    return spec_for_set(imported, protocol)


def spec_for_set(imported: ImportedSet, protocol: Protocol) -> str:
    """Return the text of a spec that evaluates an imported set by a protocol."""
    searches_lr = "lr_search" in PROTOCOL_VALUES[protocol] and imported.student_lr is None
    lines = [
        f"# A synthetic set for {imported.dataset}: "
        + (escape_text(imported.source[:300]) or "of unknown origin"),
        f"# Files: {files_text(imported)}",
        "",
        "ddspec = 1",
        f'name = "{imported.dataset.replace("/", "_")}_set_{imported.name[:8]}"',
        f"title = {toml_text((imported.source or 'A synthetic set from elsewhere')[:300])}",
        "",
        "[dataset]",
        f'name = "{imported.dataset}"',
        *dataset_lines(imported, searches_lr),
        "",
        "[network]",
        f"depth = {DEEPER.get(imported.dataset, 3)}",
        "",
    ]
    if imported.dataset in SIGNS:
        families = '["color", "crop", "cutout", "scale", "rotate"]'
        lines += [
            "[augmentation]",
            f"families = {families}   # a mirrored digit is another sign",
            "",
        ]
    lines += [
        "[synthetic]",
        f"ipc = {imported.ipc}",
        f"init = {toml_text(init_of(imported))}",
        "",
        "[evaluation]",
        f'protocol = "{protocol}"',
        'networks = ["convnet"]',
    ]
    if imported.student_lr is not None and "lr_search" in PROTOCOL_VALUES[protocol]:
        lines.append(f"lr = {imported.student_lr!r}   # that of the set, so none is searched")
    elif imported.student_lr is None and not PROTOCOL_VALUES[protocol].keys() & {"lr", "lr_search"}:
        lines.append("lr = 0.01   # the set brings none: give the rate of its authors")
    return "\n".join(lines) + "\n"


def files_text(imported: ImportedSet) -> str:
    """Return the names of the first files of a set, on one line."""
    names = ", ".join(escape_text(file.name) for file in imported.files[:3])
    more = len(imported.files) - 3
    return f"{names} and {more} more" if more > 0 else names


def dataset_lines(imported: ImportedSet, searches_lr: bool) -> list[str]:
    """Return the keys of [dataset] that a set needs to be seen as its networks saw it."""
    lines = []
    known = known_facts(Dataset(name=imported.dataset))
    if imported.dataset == "folder":
        lines.append('root = "NAME"   # the folder of the real images, below the data folder')
    if known is not None and imported.height != known.height:
        lines.append(f"resolution = {imported.height}")
    if known is not None and 0 < len(imported.class_names) < known.classes:
        lines.append(f"classes = {toml_text(list(imported.class_names))}")
    for form, space in WHITENED.items():
        if imported.pixels.name == space:
            lines.append(f"zca = {toml_text(zca_key(form))}")
    if imported.pixels.name == "normalized" and known is not None:
        public = prepared(known, Dataset(name=imported.dataset, statistics="public_code"))
        is_public = (public.mean, public.std) == (imported.pixels.mean, imported.pixels.std)
        if is_public and public.mean != known.mean:
            lines.append('statistics = "public_code"')
    if searches_lr:
        lines.append("validation = 0.1   # images on which the learning rate is chosen")
    return lines


def write_share(folder: Path, record: Record, to: Path) -> list[Path]:
    """Write the synthetic set of a run, and a spec that evaluates it, into a folder.

    Raises RecordError if the run folder holds no set, or a damaged one.
    """
    from ddspec.engine.exchange.import_set import SetOptions, import_set
    from ddspec.engine.store.store import Store

    if not (folder / SYNTHETIC_H5).is_file():
        raise RecordError(f"{folder} has no {SYNTHETIC_H5} to share")
    spec = described_spec(record).spec
    with tempfile.TemporaryDirectory(prefix="ddspec-share-") as temporary:
        store = Store(Path(temporary))
        made = import_set(
            [folder / SYNTHETIC_H5],
            SetOptions(
                dataset=spec.dataset.name,
                resolution=spec.dataset.resolution,
                source=shared_source(record),
            ),
            store,
        )
        with (
            store.path("imported_set", made.name).open("rb") as content,
            atomic_file(to / SET_H5) as file,
        ):
            shutil.copyfileobj(content, file)
    write_text(to / SPEC_TOML, shared_spec(record, resolved(spec), made))
    return [to / SET_H5, to / SPEC_TOML]


def shared_source(record: Record) -> str:
    """Return where the set of a run comes from, in words."""
    title = record.title or record.name
    origin = f"{title}, plan {record.plan.digest[:8]}, by ddspec {record.environment.ddspec}"
    return f"{origin}; {record.imported_set.source}" if record.imported_set else origin


def shared_spec(record: Record, values: Any, made: ImportedSet) -> str:
    """Return the text of a spec that evaluates a run's set as the run did, and expects the same."""
    evaluation = {**values["evaluation"], "choose": "last"}
    spec = {
        "ddspec": values["ddspec"],
        "name": f"{values['name'][:96]}_set",
        "title": f"The set of {record.title or record.name}"[:300],
        "seed": values["seed"],
        "compute": values["compute"],
        "dataset": values["dataset"],
        "network": values["network"],
        "augmentation": {"families": values["augmentation"]["families"]},
        "synthetic": {"ipc": made.ipc, "init": init_of(made)},
        "evaluation": evaluation,
    }
    chosen = record.results.accuracy
    expected = [
        expectation(accuracy, shared_source(record))
        for accuracy in record.results.per_network.values()
        if chosen is not None and accuracy.iteration == chosen.iteration
    ]
    how = (
        f"# ddspec import --synthetic {SET_H5} --dataset {made.dataset}\n"
        f"# ddspec run {SPEC_TOML}\n\n"
    )
    return how + tomli_w.dumps(spec | ({"expect": expected} if expected else {}))


def expectation(accuracy: Accuracy, source: str) -> dict[str, Any]:
    """Return the [[expect]] table of an accuracy that this run measured."""
    return {
        "network": accuracy.network,
        "accuracy": round(accuracy.mean, 4),
        "std": round(accuracy.std, 4),
        "n": accuracy.n,
        "choose": "last",
        "source": source[:500],
    }
