"""Fixtures for all tests: golden files, the smoke run, the command line."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

# Two test processes share the cores: threads that wait by spinning take them from each other.
# The library of the threads reads this when torch is loaded.
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import pytest
from typer.testing import CliRunner

import ddspec
from ddspec.cli.main import app
from ddspec.dsl.facts.datasets import KNOWN, DatasetFacts

TESTS = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite golden files")


@pytest.fixture(autouse=True, scope="session")
def quick_probes() -> Iterator[None]:
    """Skip the measurement of the machine's speed, which affects estimates only."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("ddspec.engine.machine.speed_probe.SECONDS_EACH", 0.0)
        yield


@pytest.fixture(autouse=True, scope="session")
def clean_checkout() -> Iterator[None]:
    """Hide uncommitted changes of the checkout, which would allow bits to differ."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("ddspec.engine.machine.environment.checkout_commit", lambda: "0" * 40)
        yield


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[Path, str], None]:
    """A function that compares a text with a golden file, or rewrites the file."""

    def compare(path: Path, text: str) -> None:
        if request.config.getoption("--update-golden"):
            path.write_text(text, encoding="utf-8")
        assert path.read_text(encoding="utf-8") == text

    return compare


@pytest.fixture
def no_hang() -> Callable[[str], AbstractContextManager[None]]:
    """A context that raises TimeoutError after a minute.

    It is for blocks that take well under a second. The message has the input that hung.
    """

    @contextmanager
    def limit(cause: str) -> Iterator[None]:
        def stop(*_: object) -> None:
            raise TimeoutError(f"no answer within a minute to:\n{cause}")

        previous = signal.signal(signal.SIGALRM, stop)
        signal.alarm(60)
        try:
            yield
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, previous)

    return limit


@pytest.fixture
def digits_facts() -> DatasetFacts:
    """Facts of the digits, as if the images had been read."""
    return KNOWN["digits"].model_copy(update={"fingerprint": "0" * 32})


@pytest.fixture
def smoke() -> Path:
    """A spec that runs through every stage in a few seconds."""
    return TESTS / "smoke.toml"


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of the smoke spec, read-only; the store is two folders up."""
    folder = tmp_path_factory.mktemp("smoke")
    compiled = ddspec.compile(ddspec.load(TESTS / "smoke.toml"), store=folder / "store")
    return ddspec.run(compiled, runs=folder / "runs").folder


@pytest.fixture(scope="session")
def ingredients() -> tuple[str, ...]:
    """Options that add most ingredients of the methods to the smoke spec."""
    return (
        "experts.optimizer.momentum=0.9",
        "experts.smoothing={clipped_loss={}, gradient_penalty={norm='pixel'}}",
        "synthetic.init=representative",
        "synthetic.labels={name='learned', lr=0.5, experts=2}",
        "synthetic.images.moving_average=0.9",
        "matching.expert_epochs=2",
        "matching.balanced_inner_loss={}",
        "matching.intermediate={}",
        "matching.perturbation={}",
        "matching.parameters={drop=0.25}",
        "matching.gradient_limit={norm=0.001}",
    )


@dataclass(frozen=True)
class Answer:
    """Exit code and output of a call of the command line."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Answer]:
    """A function that runs the command line in an empty folder, in this process."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str | Path) -> Answer:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Answer(result.exit_code, result.stdout, result.stderr)

    return call
