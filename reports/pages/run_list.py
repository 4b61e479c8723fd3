"""The runs and sweeps in a folder as rows: what the page of all runs and `ddspec runs` list."""

from dataclasses import dataclass
from pathlib import Path

from ddspec.dsl.diagnostics import RecordError
from ddspec.dsl.record.file_names import PLAN_JSON, RECORD_JSON, REPORT_HTML, SWEEP_JSON
from ddspec.dsl.record.record import Accuracy, Record
from ddspec.dsl.record.sweep import SweepRecord
from ddspec.reports.figures.contact_sheet import ContactSheet, thumbnail
from ddspec.reports.figures.gallery import open_sheet, shown_sheets
from ddspec.reports.files import refuse_contradictions
from ddspec.reports.format import accuracy_words, day_text, duration, ipc_words, parts_per_side
from ddspec.reports.pages.run import read_images, read_record
from ddspec.reports.pages.sweep import read_sweep, summary
from ddspec.reports.tables.summary import dataset_name, gain_words, signs_words


@dataclass(frozen=True)
class RunRow:
    """One run; numbers as text and, for sorting, as numbers."""

    folder: str
    has_page: bool
    name: str
    digest: str
    """Start of the plan's digest, which tells runs of one spec apart."""
    changes: tuple[str, ...]
    """What options, or the sweep, changed in the spec."""
    seed: int
    """The seed of the distillation."""
    title: str
    thumbnail: ContactSheet | None
    """Ten images of the result; None if they are missing, damaged or not wanted."""
    date: str
    date_words: str
    dataset: str
    ipc: int
    partition: int
    """f, if f x f images are stored in the room of one."""
    ipc_text: str
    """Images per class, with the parts of each if they are partitioned."""
    networks: tuple[str, ...]
    """The networks that the spec evaluates on, the first of which gives the result."""
    judged_by: str
    """Network and protocol, and the choice among iterates where it is not the last."""
    measured: Accuracy | None
    """The result as numbers; None if no set was evaluated."""
    accuracy: str
    """The same as text: mean, standard deviation, and the number of networks."""
    accuracy_percent: str
    """The mean as a number, to sort by."""
    is_preview: bool
    """Whether the spec was shrunk, so that its numbers are no result."""
    gain: str
    """Over random real images, with its interval; empty for a preview."""
    gain_points: str
    """The same as a number, to sort by."""
    published: str
    """Verdict against published numbers; empty if there are none."""
    status: str
    signs: str
    """Signs that the run failed, in a few words."""
    time: str
    seconds: float


@dataclass(frozen=True)
class IndexedSweep:
    """One sweep."""

    folder: str
    has_page: bool
    name: str
    title: str
    date: str
    date_words: str
    axes: tuple[str, ...]
    """The keys that it sweeps, or "case"."""
    summary: str


@dataclass(frozen=True)
class RunList:
    """The runs and sweeps of a folder, latest first."""

    runs: list[RunRow]
    sweeps: list[IndexedSweep]
    unread: list[tuple[str, str]]
    """Folders that could not be read, each with the reason."""


def list_runs(folder: Path, thumbnails: bool = True) -> RunList:
    """Return runs and sweeps of a folder, and unreadable ones with the reason.

    Without `thumbnails`, no image is read. Raises RecordError if the folder holds no run.
    """
    if not folder.is_dir():
        raise RecordError(f"there is no folder {folder}", hint=HINT)
    runs: list[RunRow] = []
    sweeps: list[IndexedSweep] = []
    unread: list[tuple[str, str]] = []
    for run_folder in sorted(path for path in folder.iterdir() if path.is_dir()):
        try:
            if (run_folder / SWEEP_JSON).exists():
                sweeps.append(sweep_row(run_folder, read_sweep(run_folder)))
            elif (run_folder / RECORD_JSON).exists():
                record = read_record(run_folder)
                with refuse_contradictions("its record", "ddspec verify finds the fault"):
                    runs.append(run_row(run_folder, record, thumbnails))
            elif (run_folder / PLAN_JSON).exists():
                unread.append(
                    (
                        run_folder.name,
                        "it has a plan but no record: still running, or killed",
                    )
                )
        except RecordError as error:
            unread.append((run_folder.name, str(error)))
    runs.sort(key=lambda row: row.date, reverse=True)
    sweeps.sort(key=lambda row: row.date, reverse=True)
    if not runs and not sweeps and not unread:
        raise RecordError(f"{folder} contains no run", hint=HINT)
    return RunList(runs, sweeps, unread)


HINT = "give the folder that contains run folders"


def run_row(folder: Path, record: Record, thumbnails: bool) -> RunRow:
    """Return one run as a row of the list."""
    accuracy = record.results.accuracy
    preview = bool(record.plan.preview)
    # The numbers of a preview say nothing about the method, so it has no gain.
    baseline = (
        record.results.random_real.get(accuracy.network) if accuracy and not preview else None
    )
    seconds = sum(step.seconds_when_made for step in record.steps)
    return RunRow(
        folder=folder.name,
        has_page=(folder / REPORT_HTML).exists(),
        name=record.name + (" (preview)" if preview else ""),
        digest=record.plan.digest[:8],
        changes=tuple(option.removeprefix("--set ") for option in record.overrides),
        seed=record.plan.distill.seed,
        title=record.title,
        thumbnail=thumbnail_of(folder, record) if thumbnails else None,
        date=record.date,
        date_words=day_text(record.date),
        dataset=dataset_name(record),
        ipc=record.plan.distill.synthetic.ipc,
        partition=parts_per_side(record),
        ipc_text=ipc_words(record),
        networks=tuple(s.network_name for s in record.plan.evaluations("distilled")),
        judged_by=judged_by(record),
        measured=accuracy,
        accuracy=accuracy_words(accuracy) if accuracy else "",
        accuracy_percent=f"{accuracy.mean:.4f}" if accuracy else "",
        is_preview=preview,
        gain=gain_words(accuracy, baseline) if accuracy else "",
        gain_points=f"{accuracy.mean - baseline.mean:.4f}" if accuracy and baseline else "",
        published=", ".join(dict.fromkeys(compared.verdict for compared in record.compared)),
        status=record.outcome.status,
        signs=signs_words(record.warnings),
        time=duration(seconds),
        seconds=round(seconds, 1),
    )


def thumbnail_of(folder: Path, record: Record) -> ContactSheet | None:
    """Return ten images of a run's result; None if they are missing or damaged."""
    shown = shown_sheets(record)
    if not shown:
        return None
    sheet = shown[-1]
    try:
        images = read_images(folder, record.model_copy(update={"sheets": (sheet,)}))
        return thumbnail(sheet, open_sheet(sheet, images))
    except RecordError:
        return None


def sweep_row(folder: Path, record: SweepRecord) -> IndexedSweep:
    """Return one sweep as a row of the list."""
    return IndexedSweep(
        folder=folder.name,
        has_page=(folder / REPORT_HTML).exists(),
        name=record.name,
        title=record.title,
        date=record.date,
        date_words=day_text(record.date),
        axes=tuple(axis.name for axis in record.axes),
        summary=summary(record),
    )


def judged_by(record: Record) -> str:
    """Return network, protocol and choice of a run's result."""
    accuracy = record.results.accuracy
    protocol = record.plan.evaluations("distilled")[0].evaluation.protocol
    parts = [accuracy.network if accuracy else "", f"protocol {protocol}"]
    if accuracy and accuracy.choose not in ("last", "none"):
        parts.append(accuracy.choose.replace("_", " "))
    return ", ".join(filter(None, parts))
