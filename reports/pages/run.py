"""The page of a run: one HTML file that contains all it shows, and the record itself."""

import base64
import contextlib
import json
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath

from ddspec.dsl.atomic_write import remove_leftovers_in, write_bytes, write_text
from ddspec.dsl.diagnostics import RecordError
from ddspec.dsl.plan.steps import DistillStep
from ddspec.dsl.record.file_names import (
    FIGURES,
    IMAGES,
    RECORD_JSON,
    REPORT_ASSETS,
    REPORT_HTML,
    SWEEP_JSON,
    WRITTEN_FOLDERS,
)
from ddspec.dsl.record.record import Record
from ddspec.dsl.record.synthetic_set import ImageSheet
from ddspec.dsl.regular_file import read_regular_file, resolved
from ddspec.reports.embed import json_for_script
from ddspec.reports.figures import experts as expert_figures
from ddspec.reports.figures import gallery as sheets
from ddspec.reports.figures import ingredients
from ddspec.reports.figures import run as figures
from ddspec.reports.figures.chart import Chart, write_numbers
from ddspec.reports.figures.class_matching import class_matching_charts
from ddspec.reports.figures.plan_graph import plan_chart
from ddspec.reports.figures.strip_chart import networks_chart
from ddspec.reports.files import RUN_HINT, read_document, refuse_contradictions, refuse_link
from ddspec.reports.format import date_text
from ddspec.reports.pages.template import page_template
from ddspec.reports.tables import costs
from ddspec.reports.tables import results as tables
from ddspec.reports.tables import summary as verdict
from ddspec.reports.tables.caveats import caveats, limits
from ddspec.reports.tables.reading import reading_rows
from ddspec.reports.tables.resolved import resolved_rows


def render_run(folder: Path, assets: bool = False) -> Path:
    """Write report.html into a run folder from its record and images; return its path.

    The numbers of its figures go beside it, as JSON and CSV. With `assets`, all pictures go into
    a separate folder, and the page is no longer a single file. The page appears whole or not at
    all, and the same folder gives the same bytes. Raises RecordError if the record or an image
    sheet is missing or damaged.
    """
    record = read_record(folder)
    images = read_images(folder, record)
    for name in WRITTEN_FOLDERS:
        remove_leftovers_in(folder / name)
    with refuse_contradictions(f"{folder.name}/record.json", RUN_HINT):
        shown = figures_of(record)
        if assets:
            page = with_assets(folder, record, images, shown)
        else:
            page = page_text(record, sheets.gallery(record, images), shown)
            remove_pictures(folder / REPORT_ASSETS)
    write_numbers([chart for charts in shown.values() for chart in charts], folder / FIGURES)
    return write_text(folder / REPORT_HTML, page)


def with_assets(
    folder: Path,
    record: Record,
    images: Mapping[str, bytes],
    shown: Mapping[str, list[Chart]],
) -> str:
    """Return the page with all pictures in files beside it."""
    refuse_link(folder / REPORT_ASSETS)
    remove_pictures(folder / REPORT_ASSETS)

    def keep(name: str, png: bytes) -> str:
        write_bytes(folder / REPORT_ASSETS / name, png)
        return f"{REPORT_ASSETS}/{name}"

    gallery = sheets.gallery(record, images, sheets.MOST_PIXELS, keep)
    return page_text(record, gallery, shown, pictures_beside=True)


def remove_pictures(folder: Path) -> None:
    """Remove the pictures that an earlier report kept in a folder, and the folder if it is empty.

    What else somebody put there stays, and the target of a link too.
    """
    if folder.is_symlink() or not folder.is_dir():
        return
    for path in folder.iterdir():
        if re.fullmatch(sheets.PICTURE_NAME, path.name) and not path.is_dir():
            path.unlink()
    with contextlib.suppress(OSError):  # It is not empty.
        folder.rmdir()


def read_record(folder: Path) -> Record:
    """Return the record of a run folder."""
    if (folder / SWEEP_JSON).exists():
        hint = "the sweep's own page shows its runs; name the folder of one of them here"
        raise RecordError(f"{folder} is a sweep, not a run", hint=hint)
    record = read_document(folder, RECORD_JSON, Record, RUN_HINT)
    if not any(isinstance(step, DistillStep) for step in record.plan.steps):
        raise RecordError(f"{folder.name}/record.json: its plan has no distillation", hint=RUN_HINT)
    return record


def read_images(folder: Path, record: Record) -> dict[str, bytes]:
    """Return the PNG of every sheet by its file name; all lie inside `images/`."""
    refuse_link(folder / IMAGES)
    inside = resolved(folder / IMAGES)
    images: dict[str, bytes] = {}
    for sheet in record.sheets:
        name = sheet.file
        plain = {PurePosixPath(name).name, PureWindowsPath(name).name} == {name}
        # A link with a plain name may lead out of the folder.
        if not plain or "\0" in name or resolved_parent(inside / name) != inside:
            raise RecordError(
                f"the record names an image outside its folder: {name!r}", hint=RUN_HINT
            )
        try:
            images[name] = read_regular_file(inside / name, most_bytes(sheet))
        except OSError as error:
            problem = f"the image sheet images/{name} cannot be read: {error.strerror}"
            raise RecordError(problem, hint=RUN_HINT) from None
    return images


def resolved_parent(path: Path) -> Path | None:
    """Return the folder that a path leads to, after all links; None if they form a loop."""
    try:
        return resolved(path).parent
    except (RuntimeError, OSError):
        return None


def most_bytes(sheet: ImageSheet) -> int:
    """Return the size that the PNG of a sheet has at most: that of its pixels, uncompressed."""
    pixels = sheet.rows * sheet.image_height * sheet.columns * sheet.image_width
    return 100_000 + 5 * max(0, min(pixels, sheets.MOST_PIXELS))


def figures_of(record: Record) -> dict[str, list[Chart]]:
    """Return all figures of a run's page, by section."""
    return {
        "results": [networks_chart(record)],
        "images": ingredients.label_charts(record) + ingredients.cluster_charts(record),
        "convergence": figures.accuracy_charts(record),
        "matching": charts_of_matching(record),
        "experts": charts_of_experts(record),
        "cost": [plan_chart(record)],
    }


def charts_of_matching(record: Record) -> list[Chart]:
    """Return the figures of the outer and the inner loop; none without iterations."""
    if not record.plan.distill.matching.iterations:
        return []
    return [
        *figures.outer_loop_charts(record),
        *ingredients.inner_loop_charts(record),
        *class_matching_charts(record),
    ]


def charts_of_experts(record: Record) -> list[Chart]:
    """Return the figures of the experts, if the plan has any."""
    if record.plan.trajectories is None:
        return []
    return expert_figures.expert_charts(record) + expert_figures.path_accuracy_charts(record)


def run_html(record: Record, images: Mapping[str, bytes]) -> str:
    """Return the page of a record; `images` holds the PNG of every sheet by its file name."""
    return page_text(record, sheets.gallery(record, images), figures_of(record))


def sections(record: Record) -> list[tuple[str, str]]:
    """Return ids and titles of the page's sections; those of what the plan lacks are left out."""
    experts = [("experts", "Experts")] if record.plan.trajectories else []
    matching = [("matching", "Matching")] if record.plan.distill.matching.iterations else []
    return [
        ("main", "Result"),
        ("results", "Accuracies of the preview" if record.plan.preview else "Accuracies"),
        ("images", "Synthetic images"),
        ("convergence", "Convergence"),
        *experts,
        *matching,
        ("limits", "Limits"),
        ("reproduce", "Reproduce"),
        ("cost", "Storage and time"),
        ("spec", "Spec"),
        ("resolved", "Resolved values"),
        ("plan", "Plan and digests"),
        ("environment", "Environment"),
    ]


def page_text(
    record: Record,
    gallery: sheets.Gallery,
    shown: Mapping[str, list[Chart]],
    pictures_beside: bool = False,
) -> str:
    """Return the page of a record with its pictures and figures."""
    spec = record.spec.encode()
    return page_template("run.html").render(
        record=record,
        sections=sections(record),
        verdict=verdict.summary_of(record),
        facts=verdict.facts(record),
        date=date_text(record.date),
        caveats=caveats(record),
        limits=limits(record),
        results=tables.result_rows(record),
        ranking=tables.ranking_rows(record),
        expectations=tables.expectation_rows(record.compared),
        gallery=gallery,
        figures=shown,
        pictures_beside=pictures_beside,
        reached=tables.reached_rows(record),
        deviations=tables.deviation_rows(record),
        guards=tables.guard_rows(record),
        experts=tables.expert_rows(record.experts),
        storage=costs.storage_rows(record),
        pace=costs.pace_rows(record),
        costs=costs.cost_rows(record.steps),
        total=costs.cost_total(record),
        routes={step.id: costs.step_route(step) for step in record.steps},
        sittings=costs.sitting_rows(record),
        makers=costs.maker_rows(record),
        spec_lines=record.spec.rstrip("\n").split("\n"),
        spec_uri="data:text/plain;base64," + base64.b64encode(spec).decode(),
        resolved=resolved_rows(record),
        command=tables.rerun_command(record),
        bibtex=tables.bibtex(record),
        from_resolved=tables.runs_from_resolved(record),
        digests=tables.digest_rows(record.plan),
        read=reading_rows(record),
        environment=tables.environment_rows(record),
        record_json=json_for_script(record.model_dump_json()),
        resolved_json=json_for_script(json.dumps(record.resolved)),
    )
