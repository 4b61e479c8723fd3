"""The page of a run: one HTML file that carries all it shows, and the record itself."""

import base64
import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path, PurePosixPath, PureWindowsPath

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from pydantic import ValidationError

from ddspec.dsl.diagnostics import RecordError
from ddspec.dsl.plan import DistillStep
from ddspec.dsl.record import Record
from ddspec.reports import figures, ingredients, sheets, tables, verdict
from ddspec.reports.embed import first_fault, json_for_script
from ddspec.reports.origins import resolved_rows

PAGE = "report.html"
AGAIN = "`ddspec run` with the same spec writes the folder anew and reuses every artifact"


def render_run(folder: Path) -> Path:
    """Write report.html into a run folder from its record and images; returns its path.

    The page appears whole or not at all, and the same folder gives the same bytes. Raises
    RecordError where the record or an image sheet is missing or damaged.
    """
    record = read_record(folder)
    page = render(record, read_images(folder, record))
    return write_whole(folder / PAGE, page)


def read_record(folder: Path) -> Record:
    """The record of a run folder."""
    try:
        text = (folder / "record.json").read_bytes()
    except OSError as error:
        problem = f"{folder.name}/record.json cannot be read: {error.strerror}"
        raise RecordError(problem, hint=AGAIN) from None
    try:
        record = Record.model_validate_json(text)
    except ValidationError as error:
        problem = f"{folder.name}/record.json is damaged or of another format: "
        raise RecordError(problem + first_fault(error), hint=AGAIN) from None
    if not any(isinstance(step, DistillStep) for step in record.plan.steps):
        raise RecordError(f"{folder.name}/record.json: its plan distils nothing", hint=AGAIN)
    return record


def read_images(folder: Path, record: Record) -> dict[str, bytes]:
    """The PNG of every sheet by its file name, all of them inside `images/`."""
    inside = (folder / "images").resolve()
    found = {}
    for sheet in record.sheets:
        name = sheet.file
        plain = {PurePosixPath(name).name, PureWindowsPath(name).name} == {name}
        # A link may lead out of the folder under a plain name.
        if not plain or "\0" in name or (inside / name).resolve().parent != inside:
            raise RecordError(f"the record names an image outside its folder: {name!r}", hint=AGAIN)
        try:
            found[name] = (inside / name).read_bytes()
        except OSError as error:
            problem = f"the image sheet images/{name} cannot be read: {error.strerror}"
            raise RecordError(problem, hint=AGAIN) from None
    return found


def render(record: Record, images: Mapping[str, bytes]) -> str:
    """The page of a record; `images` holds the PNG of every sheet by its file name."""
    spec = record.spec.encode()
    return page_template("run.html").render(
        record=record,
        verdict=verdict.verdict(record),
        facts=verdict.facts(record),
        limits=verdict.limits(record),
        results=tables.result_rows(record),
        expectations=tables.expectation_rows(record.compared),
        gallery=sheets.gallery(record, images),
        accuracy_charts=figures.accuracy_charts(record),
        matching_charts=figures.matching_charts(record) + ingredients.ingredient_charts(record),
        expert_charts=figures.expert_charts(record) + ingredients.path_charts(record),
        cluster_charts=ingredients.cluster_charts(record),
        label_charts=ingredients.label_charts(record),
        reached=tables.reached_rows(record),
        deviations=tables.deviation_rows(record),
        guards=tables.guard_rows(record),
        experts=tables.expert_rows(record.experts),
        storage=tables.storage_rows(record),
        costs=tables.cost_rows(record.steps),
        total=tables.cost_total(record.steps),
        spec_lines=record.spec.rstrip("\n").split("\n"),
        spec_uri="data:text/plain;base64," + base64.b64encode(spec).decode(),
        resolved=resolved_rows(record),
        command=tables.run_command(record),
        from_resolved=tables.runs_from_resolved(record),
        digests=tables.digest_rows(record.plan),
        environment=tables.environment_rows(record),
        record_json=json_for_script(record.model_dump_json()),
        resolved_json=json_for_script(json.dumps(record.resolved)),
    )


@cache
def page_template(name: str) -> Template:
    """The template of that name; whatever stands in a record is escaped."""
    loader = PackageLoader("ddspec.reports", "templates")
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def write_whole(path: Path, text: str) -> Path:
    """Write beside the name and rename, so that no reader meets half a page."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(text.encode())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return path
