"""Shared by all tests: golden files, the smoke spec, and a command line that returns."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ddspec.dsl.datasets import KNOWN, DatasetFacts

TESTS = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite golden files")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[Path, str], None]:
    """Compare a text with a golden file, or rewrite it."""

    def compare(path: Path, text: str) -> None:
        if request.config.getoption("--update-golden"):
            path.write_text(text, encoding="utf-8")
        assert path.read_text(encoding="utf-8") == text

    return compare


@pytest.fixture
def digits_facts() -> DatasetFacts:
    """The digits as if they had been read."""
    return KNOWN["digits"].model_copy(update={"fingerprint": "0" * 32})


@pytest.fixture
def smoke() -> Path:
    """A spec that runs through every stage in a few seconds."""
    return TESTS / "smoke.toml"


Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Run the command line in an empty folder."""

    def call(*arguments: str | Path, **options: object) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "ddspec", *map(str, arguments)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, "NO_COLOR": "1"},
            **options,  # type: ignore[call-overload]
        )

    return call
