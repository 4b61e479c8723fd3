"""The page in a real browser. Needs Chromium, Node.js, puppeteer-core and axe-core.

DDSPEC_CHROMIUM names the browser where it is not on PATH, DDSPEC_NODE_MODULES the folder of the
two packages where it is not ./node_modules.
"""

import csv
import io
import json
import os
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from ddspec.dsl.record.agreement import compare_records
from ddspec.dsl.record.record import Record
from ddspec.dsl.record.reproduction import Reproduction, overall
from ddspec.reports.pages.compare import render_compare
from ddspec.reports.pages.index import render_index
from ddspec.reports.pages.reproduction import render_reproduction
from ddspec.reports.pages.run import render_run
from ddspec.reports.pages.sweep import render_sweep

pytestmark = pytest.mark.browser

SPECS = Path(__file__).parents[2] / "specs"
DRIVER = Path(__file__).with_name("browser.cjs")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
LIGHT, DARK, GREY = "rgb(255, 255, 255)", "rgb(20, 23, 27)", "rgb(128, 128, 128)"


def chromium() -> str:
    """The browser, or a skipped test."""
    named = os.environ.get("DDSPEC_CHROMIUM")
    browser = named or next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None or not Path(browser).exists():
        pytest.skip(f"no Chromium: set DDSPEC_CHROMIUM or install one of {', '.join(BROWSERS)}")
    return browser


def node_modules() -> str:
    """The folder of the Node.js packages, or a skipped test."""
    folder = Path(os.environ.get("DDSPEC_NODE_MODULES", "node_modules")).resolve()
    for package in ("puppeteer-core", "axe-core"):
        if not (folder / package).is_dir():
            pytest.skip(f"no {package}: npm install it and set DDSPEC_NODE_MODULES")
    return str(folder)


def node() -> str:
    """Node.js, or a skipped test."""
    program = shutil.which("node")
    if program is None:
        pytest.skip("no Node.js on PATH")
    return program


def visit(page: Path, profile: Path) -> tuple[list[dict], dict]:
    """What the driver met in light and dark, wide and on a phone; and where no script runs."""
    done = subprocess.run(
        [node(), str(DRIVER), chromium(), node_modules(), str(page), str(profile)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    return answers["visits"], answers["without"]


def assert_quiet_and_accessible(page: Path, profile: Path) -> list[dict]:
    """No request, no error, no axe-core violation, nothing wider than a phone; figures without
    scripts."""
    visits, without = visit(page, profile)
    assert {(v["scheme"], v["width"]) for v in visits} == {
        (scheme, width) for scheme in ("light", "dark") for width in (1280, 390)
    }
    for met in visits:
        assert met["requests"] == []
        assert met["errors"] == []
        assert met["violations"] == []
        assert met["passes"] > 20
        assert met["overflow"] <= 0
        assert met["broken"] == 0
        assert met["heads"] == []
        assert met["background"] not in met["commands"]
        if met["width"] == 1280:
            assert met["cut"] == []
            assert all(caption < drawing - 400 for caption, drawing in met["alone"])
        # JSON has no infinity: a page without drawings has no letters in them.
        assert met["letters"] is None or met["letters"] > 9.99
        if met["contents"]:
            # The contents stay in the window: at the side, or at the top of a phone.
            assert 0 <= met["contents"]["top"] < 50
            assert met["contents"]["width"] < (250 if met["width"] == 1280 else 391)
        assert met["background"] == (LIGHT if met["scheme"] == "light" else DARK)
        behind = {"": GREY, "change": met["background"]}
        assert met["behind"].items() <= behind.items()
    text = page.read_text()
    assert without["drawn"] == text.count('<svg class="chart"')
    assert without["pdf"] > 10_000
    return visits


RENDERERS = {
    "run_folder": render_run,
    "folder_of_everything": render_run,
    "sweep_folder": render_sweep,
    "folder_of_runs": render_index,
}


@pytest.fixture(params=RENDERERS)
def page(request: pytest.FixtureRequest) -> Path:
    folder = request.getfixturevalue(request.param)
    return RENDERERS[request.param](folder)


def test_page_is_quiet_accessible_and_fits_a_phone(page: Path, tmp_path: Path):
    visits = assert_quiet_and_accessible(page, tmp_path / "profile")
    has_pairs = page.name == "report.html" and "sweep" not in page.parent.name
    assert {met["together"] for met in visits} == {True if has_pairs else None}
    lines = {met["scheme"]: met["line"] for met in visits}
    assert lines["light"] != lines["dark"] or page.name == "index.html"


def test_script_answers_pointer_and_keys_and_gives_the_numbers(
    folder_of_everything: Path, everything: Record, tmp_path: Path
):
    page = render_run(folder_of_everything)
    visits, _ = visit(page, tmp_path / "profile")
    for met in visits:
        answers = met["answers"]
        last = everything.series.matching_loss[-1]
        assert answers["readouts"]["matching-loss"] == (
            f"iteration {len(everything.series.matching_loss)} \N{MIDDLE DOT} matching loss {last:.4g}"
        )
        assert answers["readouts"]["expert-accuracy"].startswith("epoch ")
        assert not any("another row" in readout for readout in answers["readouts"].values())
        for name, text in answers["csv"].items():
            rows = list(csv.reader(io.StringIO(text)))
            beside = (folder_of_everything / "figures" / f"{name}.csv").read_text()
            for row, other in zip(rows, csv.reader(io.StringIO(beside)), strict=True):
                assert list(map(value, row)) == list(map(value, other))
        assert answers["markdown"].startswith("| ")
        assert "| --- |" in answers["markdown"]
        assert answers["latex"].startswith("\\begin{tabular}{")
        assert "\\midrule" in answers["latex"]
        assert len({line.count("&") for line in answers["latex"].splitlines() if "&" in line}) == 1
        assert len(answers["tableCsv"].splitlines()) == len(answers["markdown"].splitlines()) - 1
        assert answers["stacked"] == (met["width"] == 390)
        for name, svg in answers["svg"].items():
            assert "var(" not in svg, name
            assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
        assert answers["scale"][0] == answers["scale"][1] >= 1
        assert answers["rendering"] == "pixelated"


def value(cell: str) -> object:
    """A cell as numbers where it is some; JavaScript writes 0 where Python writes 0.0."""
    try:
        return [float(part) for part in cell.split(" ")]
    except ValueError:
        return cell


def test_slider_shows_the_saved_iterations_beside_the_first(
    run_folder: Path, record: Record, images: dict[str, bytes], tmp_path: Path
):
    first = record.sheets[0]
    between = [first.model_copy(update={"file": f"{i}.png", "iteration": i}) for i in (100, 200)]
    for sheet in between:
        (run_folder / "images" / sheet.file).write_bytes(images[first.file])
    sheets = (first, *between, *record.sheets[1:])
    changed = record.model_copy(update={"sheets": sheets})
    (run_folder / "record.json").write_text(changed.model_dump_json())

    visits, _ = visit(render_run(run_folder), tmp_path / "profile")
    for met in visits:
        assert met["answers"]["slid"] == [
            ["before", "iteration 300"],
            ["before", "iteration 100"],
        ]


def test_list_of_runs_is_sorted_by_a_click(
    run_folder: Path, record: Record, images: dict[str, bytes], tmp_path: Path
):
    for name in ("b", "a", "c"):
        other = run_folder.parent / f"{name}-00000000"
        shutil.copytree(run_folder, other)
        renamed = record.model_copy(update={"name": name})
        (other / "record.json").write_text(renamed.model_dump_json())

    visits, _ = visit(render_index(run_folder.parent), tmp_path / "profile")
    for met in visits:
        assert met["answers"]["filtered"] == 4
        rising, falling = met["answers"]["sorted"]
        assert rising == ["a", "b", "c", record.name]
        assert falling == rising[::-1]


@pytest.mark.parametrize("path", sorted(SPECS.glob("*digits*.toml")), ids=lambda path: path.stem)
def test_page_of_every_digits_spec(path: Path, invented_folder, tmp_path: Path):
    folder = invented_folder(path, tmp_path / "runs")
    page = render_sweep(folder) if path.name.startswith("ablation_") else render_run(folder)
    assert page.stat().st_size < 5_000_000
    assert_quiet_and_accessible(page, tmp_path / "profile")


def test_page_of_a_run_that_was_done_again(record: Record, tmp_path: Path):
    numbers = tuple(compare_records(record, record, ("device: a <b> there, another here",)))
    reproduction = Reproduction(
        origin="report",
        name=record.name,
        title="<script>alert(1)</script>",
        digest=record.plan.digest,
        date=record.date,
        verdict=overall(numbers),
        numbers=numbers,
        may_differ=("device: a <b> there, another here",),
        reused=("experts",),
        recorded_in=record.environment,
        found_in=record.environment,
        folder=record.plan.folder,
    )
    page = render_reproduction(tmp_path, reproduction)
    assert "<script>alert" not in page.read_text()
    assert_quiet_and_accessible(page, tmp_path / "profile")


def test_page_of_mtt_ast_and_mct_side_by_side(invented_folder, tmp_path: Path):
    names = ("digits_ipc10", "digits_ast_ipc10", "digits_mct_ipc10")
    folders = [invented_folder(SPECS / f"{name}.toml", tmp_path / "runs") for name in names]
    page = render_compare(folders, tmp_path / "compare.html")
    assert_quiet_and_accessible(page, tmp_path / "profile")


def test_long_names_widen_no_page(invented_folder, tmp_path: Path):
    runs = tmp_path / "runs"
    for number, name in enumerate(("digits_ipc1", "digits_ipc10", "digits_ast_ipc10")):
        text = (SPECS / f"{name}.toml").read_text()
        spec = tmp_path / f"{name}.toml"
        spec.write_text(text.replace(f'name = "{name}"', f'name = "{number}{"long_name" * 11}"'))
        invented_folder(spec, runs)
    folders = sorted(runs.iterdir())
    assert {len(folder.name) for folder in folders} == {109}
    compared = render_compare(folders, tmp_path / "compare.html")
    assert_quiet_and_accessible(compared, tmp_path / "profile")
    assert_quiet_and_accessible(render_index(runs), tmp_path / "profile")
