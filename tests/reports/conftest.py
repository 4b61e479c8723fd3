"""Fixtures for the tests of pages: invented records, and their folders."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ddspec.dsl.record.file_names import SWEEP_JSON
from ddspec.dsl.record.record import Record
from ddspec.dsl.record.sweep import SweepRecord, SweptAxis
from tests.reports.invented import (
    invented_record,
    invented_run,
    invented_sweep,
    invented_swept_run,
    png_of,
    write_run_folder,
)

SPEC = Path(__file__).parents[2] / "specs" / "digits_ipc1.toml"
EXPECT = """
[[expect]]
accuracy = 71.3
std = 1.1
n = 5
choose = "best_on_test"
source = "Invented et al., Table 0"
"""
OVERRIDES = ("matching.syn_steps=12", "evaluation.repeats=4")
EVERYTHING = (
    "experts.smoothing.clipped_loss.epochs=10",
    "experts.smoothing.gradient_penalty.norm=pixel",
    "synthetic.init=representative",
    "synthetic.labels={name='learned', lr=1.0}",
    "matching.balanced_inner_loss={}",
    "matching.matched_step=nearest",
    "matching.loss_limit=1.0",
    "matching.gradient_limit={norm=2.0}",
    "synthetic.student_lr.positivity=hold",
)


@pytest.fixture(scope="session")
def record() -> Record:
    """A finished run of specs/digits_ipc1.toml with a published number to compare with."""
    return invented_record(SPEC.read_text() + EXPECT, OVERRIDES)


@pytest.fixture(scope="session")
def convex() -> Record:
    """A run of the same spec with convexified trajectories."""
    return invented_record(SPEC.read_text().replace('type = "sgd"', 'type = "convex"'), ())


@pytest.fixture(scope="session")
def bezier() -> Record:
    """A run of the same spec with Bezier curves in place of trajectories."""
    return invented_record(SPEC.read_text().replace('type = "sgd"', 'type = "bezier"'), ())


@pytest.fixture(scope="session")
def everything() -> Record:
    """A run with every ingredient that has a figure or a table."""
    text = SPEC.read_text().replace('type = "sgd"', 'type = "convex"')
    return invented_record(text, EVERYTHING)


@pytest.fixture(scope="session")
def images(record: Record) -> dict[str, bytes]:
    """The sheets of the record."""
    return {sheet.file: png_of(sheet) for sheet in record.sheets}


@pytest.fixture
def run_folder(tmp_path: Path, record: Record, images: dict[str, bytes]) -> Path:
    """A run folder with record and sheets, as the engine leaves it."""
    return write_run_folder(tmp_path, record, images)


@pytest.fixture
def folder_of_everything(tmp_path: Path, everything: Record, images: dict[str, bytes]) -> Path:
    """The run folder of a run with every ingredient."""
    return write_run_folder(tmp_path, everything, images)


@pytest.fixture
def sweep_record() -> SweepRecord:
    """A sweep of two values of N by two cases; one run diverged and one has not run."""
    cases, steps = ("plain", "<script>alert(1)</script>"), ("syn_steps = 5", "syn_steps = 8")
    return SweepRecord(
        name="swept",
        title="<img src=x onerror=alert(1)>",
        digest="1" * 32,
        date="2026-01-01T00:00:00Z",
        axes=(
            SweptAxis(name="matching.syn_steps", entries=steps),
            SweptAxis(name="case", entries=cases),
        ),
        runs=(
            invented_swept_run((steps[0], cases[0]), 60.0),
            invented_swept_run((steps[0], cases[1]), 62.5),
            invented_swept_run(
                (steps[1], cases[0]), 61.0, status="diverged", cause="a <number> ran away"
            ),
            invented_swept_run((steps[1], cases[1]), None),
        ),
        spec='name = "swept" # </script><b>\n[sweep]\n',
        overrides=("--set seed=1",),
    )


@pytest.fixture
def sweep_folder(tmp_path: Path, sweep_record: SweepRecord) -> Path:
    """The folder of that sweep."""
    folder = tmp_path / sweep_record.folder
    folder.mkdir()
    (folder / SWEEP_JSON).write_text(sweep_record.model_dump_json())
    return folder


@pytest.fixture
def folder_of_runs(tmp_path: Path, run_folder: Path, sweep_folder: Path) -> Path:
    """A folder with a run and a sweep in it."""
    return tmp_path


@pytest.fixture
def invented_folder() -> Callable[[Path, Path], Path]:
    """A function that writes the folder of an invented run or sweep of any digits spec."""
    return lambda path, runs: (
        invented_sweep if path.name.startswith("ablation_") else invented_run
    )(path, runs)
