"""The page in a real browser. Needs Chromium, Node.js, puppeteer-core and axe-core.

DDSPEC_CHROMIUM names the browser where it is not on PATH, DDSPEC_NODE_MODULES the folder of the
two packages where it is not ./node_modules.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ddspec.reports.render import render_run
from ddspec.reports.sweep import render_sweep

pytestmark = pytest.mark.browser

DRIVER = Path(__file__).with_name("browser.cjs")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
LIGHT, DARK = "rgb(255, 255, 255)", "rgb(20, 23, 27)"


def chromium() -> str:
    """The browser, or a skipped test."""
    named = os.environ.get("DDSPEC_CHROMIUM")
    found = named or next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None or not Path(found).exists():
        pytest.skip(f"no Chromium: set DDSPEC_CHROMIUM or install one of {', '.join(BROWSERS)}")
    return found


def node_modules() -> str:
    """The folder of the Node.js packages, or a skipped test."""
    folder = Path(os.environ.get("DDSPEC_NODE_MODULES", "node_modules")).resolve()
    for package in ("puppeteer-core", "axe-core"):
        if not (folder / package).is_dir():
            pytest.skip(f"no {package}: npm install it and set DDSPEC_NODE_MODULES")
    return str(folder)


def node() -> str:
    """Node.js, or a skipped test."""
    found = shutil.which("node")
    if found is None:
        pytest.skip("no Node.js on PATH")
    return found


@pytest.fixture(params=["run_folder", "folder_of_everything", "sweep_folder"])
def visits(request: pytest.FixtureRequest, tmp_path: Path) -> list[dict]:
    """What the driver met in light and dark, on a wide screen and on a phone."""
    command = [node(), str(DRIVER), chromium(), node_modules()]
    folder = request.getfixturevalue(request.param)
    page = render_sweep(folder) if request.param == "sweep_folder" else render_run(folder)
    done = subprocess.run(
        [*command, str(page), str(tmp_path / "profile")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_page_is_quiet_accessible_and_fits_a_phone(visits: list[dict]):
    assert {(v["scheme"], v["width"]) for v in visits} == {
        (scheme, width) for scheme in ("light", "dark") for width in (1280, 390)
    }
    for visit in visits:
        assert visit["requests"] == []
        assert visit["errors"] == []
        assert visit["violations"] == []
        assert visit["passes"] > 20
        assert visit["overflow"] <= 0
        assert visit["broken"] == 0
        assert visit["background"] == (LIGHT if visit["scheme"] == "light" else DARK)
    lines = {visit["scheme"]: visit["line"] for visit in visits}
    assert lines["light"] != lines["dark"]
