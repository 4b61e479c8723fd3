"""Artifacts in and out: exports of synthetic sets; imported experts and sets."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from ddspec.api import DEFAULT_STORE
from ddspec.dsl.regular_file import resolved
from ddspec.dsl.terms import DatasetName, ExportForm, PixelSpaceName, Statistics
from ddspec.functions.loading import AnyPath, paths_of

if TYPE_CHECKING:
    from ddspec.dsl.record.synthetic_set import ImportedSet
    from ddspec.engine.exchange.replay_buffers import Imported

DEFAULT_EXPORTS = Path("exports")
FORMS: tuple[ExportForm, ...] = get_args(ExportForm)
SHARE, RUN = "share", "run"
"""Exports of the set with a spec that evaluates it, and of the run folder itself."""

ExportName = ExportForm | Literal["share", "run"]


def export(
    folder: AnyPath, *, to: AnyPath | None = None, forms: Sequence[ExportName] = ()
) -> list[Path]:
    """Write the synthetic set of a run in other formats; return the files.

    `forms` are images, npz, hdf5, pt and share; by default all but share, and pt
    only if its files can express the labels. `["run"]`, alone, copies the run folder
    without large files that the data give again. Files go to exports/RUN unless `to`
    names a folder. Raises ValueError for other forms and RecordError if the run has no
    set or `to` is not empty.
    """
    from ddspec.engine.exchange.export import export_run
    from ddspec.engine.exchange.run_copy import copy_run
    from ddspec.reports.pages.run import read_record

    if isinstance(forms, str):
        raise ValueError(f"forms is {forms!r}: give a list, such as [{forms!r}]")
    unknown = [form for form in forms if form not in (*FORMS, SHARE, RUN)]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not one of {', '.join((*FORMS, SHARE, RUN))}")
    if RUN in forms and set(forms) != {RUN}:
        raise ValueError("a copy of the run cannot be combined with other forms")
    source = Path(folder)
    target = DEFAULT_EXPORTS / resolved(source).name if to is None else Path(to)
    record = read_record(source)
    if RUN in forms:
        return copy_run(source, record, target)
    wanted = tuple(form for form in FORMS if form in forms) if forms else None
    written = export_run(source, record, target, wanted)
    if SHARE in forms:
        from ddspec.set_specs import write_share

        try:
            written += write_share(source, record, target)
        except BaseException:
            shutil.rmtree(target, ignore_errors=True)
            raise
    return written


def import_experts(
    files: Sequence[AnyPath], *, store: AnyPath = DEFAULT_STORE, skip_broken: bool = False
) -> "Imported":
    """Import replay buffers (`replay_buffer_*.pt`) as experts.

    The result has the values for [experts] of a spec: `name` for `imported`, `count` and
    `epochs`. Raises DataError if a file is not a replay buffer or has a broken trajectory,
    unless `skip_broken` leaves those out.
    """
    from ddspec.engine.exchange.replay_buffers import import_buffers
    from ddspec.engine.store.store import Store

    return import_buffers(paths_of(files), Store(Path(store)), skip_broken=skip_broken)


def import_set(
    images: AnyPath,
    *,
    dataset: DatasetName,
    labels: AnyPath | None = None,
    lr: float | AnyPath | None = None,
    pixels: PixelSpaceName | None = None,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    statistics: Statistics = "own",
    logits: bool = False,
    class_order: Sequence[str] = (),
    number: int | None = None,
    resolution: int | None = None,
    iteration: int | None = None,
    source: str = "",
    fixed_labels: bool = False,
    store: AnyPath = DEFAULT_STORE,
) -> "ImportedSet":
    """Import a synthetic set that was made elsewhere: .pt, .npz, .h5 or a folder of images.

    The result has the value for `synthetic.init` of a spec: `{"name": "imported", "set":
    result.name}`. `labels` is the file of its labels, if apart; `lr` its learning rate, or
    the file of it. The other arguments are those of `ddspec import`. Raises DataError if the
    files contain no set or do not say enough of it.
    """
    from ddspec.engine.exchange.import_set import SetOptions
    from ddspec.engine.exchange.import_set import import_set as put_set
    from ddspec.engine.store.store import Store

    rate, rate_file = (float(lr), None) if isinstance(lr, int | float) else (None, lr)
    options = SetOptions(
        dataset=dataset,
        pixels=pixels,
        mean=tuple(mean),
        std=tuple(std),
        statistics=statistics,
        lr=rate,
        logits=logits,
        number=number,
        class_order=tuple(class_order),
        resolution=resolution,
        iteration=iteration,
        source=source,
        fixed_labels=fixed_labels,
    )
    paths = [Path(file) for file in (images, labels, rate_file) if file is not None]
    return put_set(paths, options, Store(Path(store)))
