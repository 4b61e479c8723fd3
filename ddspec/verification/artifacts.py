"""The record and its files against the artifacts in the store."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ddspec.dsl.diagnostics import DdspecError
from ddspec.dsl.facts.datasets import DatasetFacts, prepared
from ddspec.dsl.plan.steps import DatasetStep
from ddspec.dsl.record.file_names import IMAGES, SYNTHETIC_H5, WHITENING_H5
from ddspec.dsl.record.record import Record
from ddspec.dsl.regular_file import read_regular_file
from ddspec.verification.finding import (
    Finding,
    diff_paths,
    finding,
    in_words_of_its_version,
    not_checked_if,
)
from ddspec.verification.page import check_pictures

FROM_ARTIFACTS = (
    "series, experts, evaluations, storage, soft labels, losses by class, extremes, clusters, "
    "facts of the images, outcome, synthetic.h5 and pictures"
)


def check_artifacts(folder: Path, record: Record, root: Path) -> Iterator[Finding]:
    """Check every artifact in the store, and the record and its files against their content."""
    from ddspec.engine.maintenance.integrity import inspect_artifacts
    from ddspec.engine.store.store import Store

    store, absent, sound = Store(root), [], 0
    damaged = False
    for inspected in inspect_artifacts(record.plan, store):
        if inspected.fault:
            damaged = True
            yield Finding(inspected.label, "fault", inspected.fault)
        elif inspected.present:
            sound += 1
        else:
            absent.append(inspected)
    if sound:
        yield Finding("artifacts in the store", "ok", f"{sound} complete, every checksum verified")
    if absent:
        steps = ", ".join(dict.fromkeys(inspected.step for inspected in absent))
        detail = f"{len(absent)} are not in this store ({steps})"
        yield Finding("artifacts in the store", "not checked", detail)
    if damaged or not sound:
        reason = "artifacts are damaged" if damaged else "artifacts are needed"
        yield Finding(FROM_ARTIFACTS, "not checked", reason)
        return
    yield check_outcome(record, store)
    stopped = record.outcome.status in ("interrupted", "failed")
    reason = "the store lacks artifacts" if absent else "the store may have gone on since"
    for found in check_against_store(folder, record, store):
        yield not_checked_if(bool(absent) or stopped, found, reason)


def check_against_store(folder: Path, record: Record, store: Any) -> Iterator[Finding]:
    """Check what the artifacts give again; the store may lack some of them."""
    yield from check_numbers(record, store)
    yield check_facts(record, store)
    yield from check_pictures_and_set(folder, record, store)


def check_numbers(record: Record, store: Any) -> Iterator[Finding]:
    """Check the record's numbers against those in the artifacts."""
    from ddspec.engine.run import collect as harvest
    from ddspec.engine.run import results as scores
    from ddspec.engine.run import set_summary as summaries

    plan = record.plan
    pairs: list[tuple[str, Any, Any]] = [
        ("evaluations", list(scores.collect_evaluations(plan, store)), list(record.evaluations)),
        ("series", harvest.collect_series(plan, store), record.series),
        ("experts", list(harvest.expert_records(plan, store)), list(record.experts)),
        ("storage", harvest.storage(plan, store), record.storage),
        ("expert", scores.expert_accuracy(plan, store), record.results.expert),
        ("clusters", list(summaries.clusters(plan, store)), list(record.clusters)),
        ("soft labels", summaries.soft_labels(plan, store, record.results), record.soft_labels),
        (
            "losses by class",
            summaries.class_losses(plan, store, record.results),
            record.class_losses,
        ),
    ]
    for what, made, recorded in pairs:
        parts = (f"{what}{difference}" for difference in diff_paths(made, recorded))
        yield finding(f"{what} of the record, from the artifacts", parts)
    extremes = summaries.set_extremes(plan, store, record.results)
    parts = (f"extremes{difference}" for difference in diff_paths(extremes, record.extremes))
    what = "extremes of the synthetic set, from the artifacts"
    yield in_words_of_its_version(record, finding(what, parts))


def check_facts(record: Record, store: Any) -> Finding:
    """Check shapes, counts, classes and statistics of the dataset against its stored images."""
    what, step = "facts of the dataset, from its images", record.plan.dataset
    made = stored_facts(step, store)
    if made is None:
        return Finding(what, "not checked", "the store has no images")
    return finding(what, diff_paths(made, record.dataset, "dataset"))


def stored_facts(step: DatasetStep, store: Any) -> DatasetFacts | None:
    """Return the facts of the stored images as a spec asks for them; None without images."""
    from ddspec.engine.images.raw_dataset import RawDataset, Split
    from ddspec.engine.images.sources.ingest import facts_of
    from ddspec.engine.store.artifacts import image_digest
    from ddspec.engine.store.hdf5_file import read_text_attribute

    name = image_digest(step.facts.fingerprint)
    if not store.has("dataset", name):
        return None
    with store.open("dataset", name) as file:
        names = tuple(json.loads(read_text_attribute(file, "class_names")))
        train, test = (
            Split(file[f"{split}_images"][()], file[f"{split}_labels"][()])
            for split in ("train", "test")
        )
        raw = RawDataset(train, test, names, int(file.attrs["white"]))
    return prepared(facts_of(step.dataset, raw), step.dataset)


def check_outcome(record: Record, store: Any) -> Finding:
    """Check how the run ended: the store is complete, or remembers a divergence."""
    from ddspec.engine.run.status import known_divergence
    from ddspec.engine.store.artifacts import artifacts_of

    what, status = "outcome, from the store", record.outcome.status
    missing = {
        step.id: [artifact for artifact in artifacts_of(step, store) if not artifact.complete]
        for step in record.plan.steps
    }
    complete = not any(missing.values())
    if status == "done":
        lacking = Finding(what, "not checked", "the store has not all of what the run made")
        return Finding(what, "ok") if complete else lacking
    if status != "diverged":
        return Finding(what, "not checked", f"nothing tells why a run was {status}")
    if complete:
        return Finding(what, "fault", "the store has every artifact of a run that is done")
    steps = [step for step in record.plan.steps if missing[step.id]]
    noted = [known_divergence(step, missing[step.id], store) for step in steps]
    outcome = next((outcome for outcome in noted if outcome is not None), None)
    if outcome is None:
        return Finding(what, "not checked", "the store remembers no divergence")
    return finding(what, diff_paths(outcome, record.outcome, "outcome"))


def check_pictures_and_set(folder: Path, record: Record, store: Any) -> Iterator[Finding]:
    """Check synthetic.h5 and the image sheets against those made again from the artifacts."""
    from ddspec.engine.run.run_folder import write_images

    with tempfile.TemporaryDirectory(prefix="ddspec-verify-") as temporary:
        again = Path(temporary)
        sheets = write_images(record.plan, record.results, store, again)
        if not sheets:
            return
        differences = (f"sheets{d}" for d in diff_paths(list(sheets), list(record.sheets)))
        yield finding("pictures that the record names, from the artifacts", differences)
        pairs = []
        for sheet in sheets:
            made = (again / IMAGES / sheet.file).read_bytes()
            try:
                limit = 100_000 + 2 * len(made)
                pairs.append((read_regular_file(folder / IMAGES / sheet.file, limit), made))
            except OSError:
                pairs.append((b"", made))
        yield check_pictures(f"{IMAGES}/, from the artifacts", pairs)
        found = check_arrays(folder / SYNTHETIC_H5, again / SYNTHETIC_H5)
        is_older = (again / WHITENING_H5).exists() and WHITENING_H5 not in record.files
        yield not_checked_if(is_older, found, "an older ddspec kept the whitening in this file")
        if (again / WHITENING_H5).exists() and (folder / WHITENING_H5).exists():
            yield check_arrays(folder / WHITENING_H5, again / WHITENING_H5)


def check_arrays(path: Path, made: Path) -> Finding:
    """Check every array and attribute of a file against the one made again."""
    what = f"{path.name}, from the artifact"
    try:
        return finding(what, set_differences(path, made))
    except (DdspecError, OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        return Finding(what, "fault", str(error))


def set_differences(path: Path, made: Path) -> Iterator[str]:
    """Yield every array and attribute in which two files differ."""
    from ddspec.engine.store.hdf5_file import check_self_contained, open_to_read

    with open_to_read(path) as file, open_to_read(made) as again:
        check_self_contained(file)
        for name in dict.fromkeys([*again, *file]):
            if name not in again or name not in file:
                yield f"{name} is {'missing' if name in again else 'no part of it'}"
                continue
            if file[name].nbytes != again[name].nbytes or file[name].attrs:
                yield f"{name} has another size, or attributes"
            elif file[name].dtype != again[name].dtype or file[name].shape != again[name].shape:
                yield f"{name} has another shape or type"
            elif file[name][()].tobytes() != again[name][()].tobytes():
                yield f"{name} are not those of the artifact"
        for name in dict.fromkeys([*again.attrs, *file.attrs]):
            values = [np.asarray(f.attrs[name]).tobytes() for f in (again, file) if name in f.attrs]
            if len(values) != 2 or values[0] != values[1]:
                yield f"attribute {name} is not that of the plan"
