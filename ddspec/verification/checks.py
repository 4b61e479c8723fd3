"""All checks of a run folder, in their order."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ddspec import api
from ddspec.dsl.terms import Device
from ddspec.functions.loading import AnyPath
from ddspec.reports.files import refuse_contradictions
from ddspec.reports.pages.run import figures_of, read_record
from ddspec.verification.accuracy import check_accuracy_again
from ddspec.verification.artifacts import check_artifacts
from ddspec.verification.files import check_files
from ddspec.verification.finding import Finding
from ddspec.verification.page import check_page
from ddspec.verification.record import check_record, spec_of

if TYPE_CHECKING:
    from ddspec.engine.control import Control


def verify(
    folder: AnyPath,
    *,
    store: AnyPath = api.DEFAULT_STORE,
    data: AnyPath | None = None,
    device: Device | None = None,
    evaluate: bool = True,
    control: "Control | None" = None,
) -> Iterator[Finding]:
    """Yield the result of every check of a run folder, each part against its origin.

    Everything that follows from the spec, the plan or the artifacts is made again and compared;
    what cannot be made again, or not without artifacts that `store` lacks, is reported as not
    checked. With `evaluate`, networks are trained again on `synthetic.h5` alone. Raises
    RecordError if the record cannot be read.
    """
    folder, store, data = Path(folder), Path(store), None if data is None else Path(data)
    record = read_record(folder)
    with refuse_contradictions("the record", "ddspec run with the same spec writes it again"):
        shown = figures_of(record)
        charts = [chart for charts in shown.values() for chart in charts]
        yield from check_files(folder, record, charts)
        yield from check_page(folder, record, shown)
        loaded, finding = spec_of(record)
        yield finding
        yield from check_record(record, loaded)
        yield from check_artifacts(folder, record, store)
        yield Finding("the rest of the record", "not checked", NOT_MADE_AGAIN)
        if not evaluate:
            yield Finding("accuracy from synthetic.h5", "not checked", "not asked for")
        elif loaded is not None:
            yield from check_accuracy_again(folder, record, loaded, data, device, control)


NOT_MADE_AGAIN = (
    "dates, times, sizes, memory, routes, estimates, machines and software, and comments in the "
    "spec follow from nothing else"
)
