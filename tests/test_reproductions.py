"""The runs in reproductions/ are what they say, and so are the texts about them."""

from pathlib import Path

import pytest

from ddspec.reports.pages.published import changed_headers, published_summary, published_text
from ddspec.verification import verify
from tests.in_slow_run import first_by_default

ROOT = Path(__file__).parent.parent
REPRODUCTIONS = ROOT / "reproductions"
FOLDERS = sorted(path.parent for path in REPRODUCTIONS.glob("*/record.json"))
RUNS = first_by_default(FOLDERS, 3)
MOST_BYTES = 2_000_000


def test_table_is_that_of_the_records():
    assert (REPRODUCTIONS / "README.md").read_text() == published_text(REPRODUCTIONS)


def test_first_page_shows_the_numbers_of_the_records():
    assert published_summary(REPRODUCTIONS) in (ROOT / "README.md").read_text()


def test_headers_of_the_specs_are_those_of_the_records():
    assert changed_headers(REPRODUCTIONS, ROOT / "specs") == {}


@pytest.mark.parametrize("folder", RUNS, ids=lambda folder: folder.name)
def test_run_has_no_fault_without_a_store(folder: Path, tmp_path: Path):
    findings = list(verify(folder, store=tmp_path / "store", evaluate=False))
    assert [found for found in findings if found.verdict == "fault"] == []
    sound = {found.what for found in findings if found.verdict == "ok"}
    assert {"digests, from their preimages", "synthetic.h5"} <= sound


@pytest.mark.parametrize("folder", RUNS, ids=lambda folder: folder.name)
def test_run_is_small_and_names_no_machine(folder: Path):
    for path in folder.rglob("*"):
        assert path.is_dir() or path.stat().st_size <= MOST_BYTES, path
    record = (folder / "record.json").read_text()
    assert "/home/" not in record and "/tmp/" not in record
