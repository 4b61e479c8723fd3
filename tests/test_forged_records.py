"""Forged records whose checksums are right and whose page was rendered again.

Each change is found by `verify`, or what it changed is said to be not checked.
"""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from ddspec.dsl.diagnostics import RecordError
from ddspec.dsl.plan.steps import Plan
from ddspec.dsl.record.record import Record
from ddspec.dsl.regular_file import sha256_of
from ddspec.reports.pages.run import render_run
from ddspec.reproduction import reproduce
from ddspec.verification import verify
from ddspec.verification.page import split_page
from tests.in_slow_run import first_by_default

Forge = Callable[[dict, Path], None]


def set_value(path: str, value) -> Forge:
    """Return a forgery of one value; a function gets the old value."""

    def forge(document: dict, folder: Path) -> None:
        *parts, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        at = document
        for part in parts:
            at = at[part]
        at[last] = value(at[last]) if callable(value) else value

    return forge


def both(*forgeries: Forge) -> Forge:
    """Return a forgery of several places."""

    def forge(document: dict, folder: Path) -> None:
        for forgery in forgeries:
            forgery(document, folder)

    return forge


def facts(key: str, value) -> Forge:
    """Return a forgery of a fact of the dataset, in record and plan."""
    return both(set_value(f"dataset.{key}", value), set_value(f"plan.steps.0.facts.{key}", value))


def change_picture(document: dict, folder: Path) -> None:
    """Paint a picture white."""
    path = folder / "images" / document["sheets"][0]["file"]
    with Image.open(path) as image:
        white = Image.new(image.mode, image.size, 255)
    white.save(path)


def rewrite_picture(document: dict, folder: Path) -> None:
    """Keep the pixels of a picture and change its bytes."""
    path = folder / "images" / document["sheets"][0]["file"]
    with Image.open(path) as image:
        image.load()
        image.save(path, dpi=(300, 300))


def change_set(name: str) -> Forge:
    """Return a forgery of an array or attribute of synthetic.h5."""

    def forge(document: dict, folder: Path) -> None:
        with h5py.File(folder / "synthetic.h5", "r+") as file:
            if name in file:
                file[name][...] = np.asarray(file[name][()]) + 1
            else:
                file.attrs[name] = np.bytes_(b"x" * 8)

    return forge


def more(value):
    return lambda values: [*values, value]


DEVIATION = {"key": "a", "value": "1", "paper": "2", "source": "A paper"}
CLUSTERS = {"label": 0, "x": [1.0], "y": [1.0], "cluster": [0], "chosen": [0]}
SOFT = {"own": [0.5] * 10, "other": [1] * 10, "other_share": [0.1] * 10}
REST = "the rest of the record"
SPEC = "spec, overrides and resolved spec"
STORE = "from the artifacts"

FOUND: dict[str, tuple[Forge, str]] = {
    "class names": (facts("class_names.3", "three"), "class names and counts"),
    "fewer images": (facts("train_per_class.3", lambda n: n - 1), "facts of the dataset"),
    "more images": (facts("test_per_class.3", lambda n: n + 1), "class names and counts"),
    "mean": (facts("mean.0", 0.5), "facts of the dataset"),
    "notes": (set_value("notes", more("Verified by the authors")), "notes"),
    "no notes": (set_value("notes", []), "notes"),
    "deviations": (set_value("deviations", [DEVIATION]), "deviations"),
    "preview": (set_value("plan.preview", ["x"]), SPEC),
    "name": (set_value("name", "other"), "names"),
    "name twice": (both(set_value("name", "o"), set_value("plan.name", "o")), "names"),
    "title": (both(set_value("title", "Best"), set_value("plan.title", "Best")), "names"),
    "cause": (set_value("outcome.cause", "as planned"), "how the run ended"),
    "advice": (set_value("outcome.advice", "cite us"), "how the run ended"),
    "diverged": (set_value("outcome.status", "diverged"), "outcome"),
    "clusters": (set_value("clusters", [CLUSTERS]), STORE),
    "soft labels": (set_value("soft_labels", SOFT), STORE),
    "sheets": (set_value("sheets", []), "pictures that the record names"),
    "files": (set_value("files", {}), "checksums in the record"),
    "status": (set_value("steps.1.status", "reused"), "steps of the record"),
    "computed": (set_value("steps.1.computed", 1), "steps of the record"),
    "route": (set_value("steps.1.route.threads", 77), "steps of the record"),
    "members": (set_value("steps.1.members", 77), "steps of the record"),
    "swept": (set_value("swept", True), SPEC),
    "comment in the resolved spec": (
        set_value("resolved", lambda text: "# verified\n" + text),
        "the text of the resolved spec",
    ),
    "expert": (set_value("results.expert", 99.0), STORE),
    "storage": (set_value("storage.full", 1), STORE),
    "ran away": (set_value("evaluations.0.ran_away", 1), STORE),
    "rate": (set_value("evaluations.0.student_lr", 0.5), STORE),
    "Avg_Var": (set_value("experts.0.avg_var", 0.5), STORE),
    "order of experts": (set_value("experts", lambda experts: experts[::-1]), STORE),
    "picture": (change_picture, "images/, from the artifacts"),
    "mean of the set": (change_set("mean"), "synthetic.h5, from the artifact"),
    "classes of the set": (change_set("class_names"), "synthetic.h5, from the artifact"),
}
"""Forgeries with the check that finds them."""

SAID: dict[str, tuple[Forge, str]] = {
    "date": (set_value("date", "2020-01-01T00:00:00Z"), REST),
    "machine": (
        both(
            set_value("environment.device", "Another"),
            set_value("sittings.0.environment.device", "Another"),
        ),
        REST,
    ),
    "size": (set_value("steps.1.bytes", 1), REST),
    "comment in the spec": (set_value("spec", lambda text: "# by the authors\n" + text), REST),
    "idle override": (
        set_value("overrides", ["--set matching.syn_steps=3"]),
        "overrides that change nothing",
    ),
    "bytes of a picture": (rewrite_picture, "images/, from the artifacts"),
}
"""Forgeries that nothing contradicts, with the words that say so."""


@pytest.fixture
def forged(smoke_run: Path, tmp_path: Path) -> Callable[[Forge], dict[str, tuple[str, str]]]:
    """A function that forges a run and returns verdict and detail of each check."""
    folder, store = tmp_path / smoke_run.name, smoke_run.parent.parent / "store"

    def findings(forge: Forge) -> dict[str, tuple[str, str]]:
        shutil.copytree(smoke_run, folder)
        document = json.loads((folder / "record.json").read_text())
        forge(document, folder)
        for name, text in (
            ("spec.toml", document["spec"]),
            ("resolved.toml", document["resolved"]),
            ("plan.json", Plan.model_validate(document["plan"]).model_dump_json(indent=1)),
        ):
            (folder / name).write_text(text)
        document["files"] = {name: sha256_of(folder / name) for name in document["files"]}
        record = Record.model_validate_json(json.dumps(document))
        (folder / "record.json").write_text(record.model_dump_json(indent=1))
        render_run(folder)
        checks = verify(folder, store=store, evaluate=False)
        return {check.what: (check.verdict, check.detail) for check in checks}

    return findings


SAMPLE = ("class names", "preview", "files")
"""Forgeries of the default run; each takes about a second."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in SAMPLE else [pytest.mark.slow], id=name)
        for name in FOUND
    ],
)
def test_forged_record_is_a_fault(forged, name: str):
    forge, what = FOUND[name]
    faults = [check for check, (verdict, _) in forged(forge).items() if verdict == "fault"]
    assert any(what in check for check in faults), faults


REFUSED = (
    *("class names", "notes", "no notes", "deviations", "preview", "name", "name twice", "title"),
    *("cause", "sheets", "files", "status", "route", "members", "swept", "more images"),
)
"""Forgeries for which `reproduce` refuses the record before anything runs."""


@pytest.mark.parametrize("name", REFUSED)
def test_reproduction_of_a_forged_record_is_refused(smoke_run: Path, tmp_path: Path, name: str):
    document = json.loads((smoke_run / "record.json").read_text())
    FOUND[name][0](document, smoke_run)
    (tmp_path / "record.json").write_text(json.dumps(document))
    with pytest.raises(RecordError):
        reproduce(tmp_path / "record.json", to=tmp_path / "again")
    assert not list(tmp_path.rglob("expert/*"))


@pytest.mark.parametrize("name", ["fewer images", "storage", "soft labels", "clusters", "diverged"])
@pytest.mark.slow
def test_reproduction_of_a_forged_record_is_refused_or_fails(smoke_run, tmp_path, name: str):
    document = json.loads((smoke_run / "record.json").read_text())
    FOUND[name][0](document, smoke_run)
    (tmp_path / "record.json").write_text(json.dumps(document))
    try:
        verdict = reproduce(tmp_path / "record.json", to=tmp_path / "again").reproduction.verdict
    except RecordError:
        verdict = "FAIL"
    assert verdict == "FAIL"


@pytest.mark.parametrize("name", first_by_default(SAID))
def test_what_nothing_contradicts_is_said_to_be_not_checked(forged, name: str):
    forge, what = SAID[name]
    findings = forged(forge)
    assert [check for check, (verdict, _) in findings.items() if verdict == "fault"] == []
    assert findings[what][0] == "not checked"


PAGE: dict[str, tuple[str, str, str]] = {
    "verdict": ("Done: all 12 iterations ran.", "Best of all.", "the text of"),
    "the words that kept pictures apart": (
        "</html>",
        "<!-- report_assets/ --> Best of all.</html>",
        "the text of",
    ),
    "script": ("<h1>", "<script>alert(1)</script><h1>", "the text of"),
    "chart": ('aria-label="Line chart', 'aria-label="Perfect chart', "words of the figures"),
    "text in a chart": (">matching loss<", ">no loss<", "words of the figures"),
    "numbers": ('"name":"iteration","values":[1', '"name":"iteration","values":[9', "numbers of"),
    "picture": ("data:image/png;base64,iVBORw0KGgo", "data:image/png;base64,iVBORw0KGgp", "pict"),
    "script in a chart": ("</svg>", "<script>1</script></svg>", "words of the figures"),
}


@pytest.mark.parametrize("name", first_by_default(PAGE))
def test_changed_page_is_a_fault(smoke_run: Path, tmp_path: Path, name: str):
    old, new, what = PAGE[name]
    folder, store = tmp_path / smoke_run.name, smoke_run.parent.parent / "store"
    shutil.copytree(smoke_run, folder)
    page = (folder / "report.html").read_text()
    assert old in page
    (folder / "report.html").write_text(page.replace(old, new, 1))
    checks = verify(folder, store=store, evaluate=False)
    assert any(what in check.what for check in checks if check.verdict == "fault")


@pytest.mark.slow
def test_page_with_pictures_beside_it_is_checked_as_one_with_them_inside(smoke_run, tmp_path):
    folder, store = tmp_path / smoke_run.name, smoke_run.parent.parent / "store"
    shutil.copytree(smoke_run, folder)
    page = render_run(folder, assets=True)

    def faults() -> list[str]:
        checks = verify(folder, store=store, evaluate=False)
        return [check.what for check in checks if check.verdict == "fault"]

    assert faults() == []
    picture = min((folder / "report_assets").iterdir())
    with Image.open(picture) as image:
        white = Image.new(image.mode, image.size)
    white.save(picture)
    assert faults() == ["report_assets/"]
    page.write_text(page.read_text().replace("Done: all", "Well done: all"))
    assert "the text of report.html" in faults()


def test_name_in_a_record_forges_no_line_of_the_output(cli, smoke_run: Path, tmp_path: Path):
    folder = tmp_path / smoke_run.name
    shutil.copytree(smoke_run, folder)
    document = json.loads((folder / "record.json").read_text())
    document["files"]["x\nverified\x1b[2J"] = "0" * 64
    document["notes"].append("\nverified")
    document["plan"]["steps"][1]["id"] = "x\nverified"
    (folder / "record.json").write_text(json.dumps(document))
    answer = cli("verify", folder, "--no-evaluate")
    assert "verified" not in answer.stdout.splitlines()
    assert "\x1b" not in answer.stdout + answer.stderr


@pytest.mark.parametrize("part", ['<svg class="chart"', "data:image/png;base64,", "</svg>"])
def test_page_of_any_content_is_split_in_linear_time(part: str):
    start = time.process_time()
    parts = split_page(part * 300_000)
    assert "".join(content for _, content in parts) == part * 300_000
    assert time.process_time() - start < 2
