"""Memory is refused in words before it is taken."""

import pytest

from ddspec.dsl import available_memory
from ddspec.dsl.available_memory import claim, in_gigabytes, memory_limit, total_memory
from ddspec.dsl.diagnostics import MachineError


def test_less_is_available_than_the_machine_has():
    assert available_memory.available_memory() > 0
    assert 0 < memory_limit() <= total_memory()


def test_claim_names_what_needs_how_much_of_which_memory(monkeypatch):
    monkeypatch.setattr(available_memory, "available_memory", lambda: 3 * 10**9)
    monkeypatch.setattr(available_memory, "memory_limit", lambda: 8 * 10**9)
    claim(2e9, "the table")
    with pytest.raises(MachineError) as error:
        claim(928e9, "dataset.zca", hint="set it to false")
    assert str(error.value) == (
        "dataset.zca needs 928 GB of memory, but 3 GB of the 8 GB that this process may use "
        "are available"
    )
    assert error.value.hint == "set it to false"


def test_limits_of_container_and_process_count(tmp_path, monkeypatch):
    monkeypatch.setattr(available_memory, "CONTAINER", tmp_path)
    (tmp_path / "memory.max").write_text("9000000\n")
    (tmp_path / "memory.current").write_text("5000000\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 2000000\n")
    assert available_memory.available_memory() == 6_000_000
    assert memory_limit() == 9_000_000
    monkeypatch.setattr(available_memory, "address_limit", lambda: 4_000_000)
    assert memory_limit() == 4_000_000
    assert available_memory.available_memory() == 1  # More is mapped already.


def test_unknown_limits_refuse_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(available_memory, "available_memory", lambda: 0)
    claim(1e30, "anything")


@pytest.mark.parametrize(
    ("size", "text"),
    [(928e9, "928 GB"), (1.25e12, "1,250 GB"), (1.8e9, "1.8 GB"), (3e7, "0.03 GB")],
)
def test_sizes_are_given_in_gigabytes(size: float, text: str):
    assert in_gigabytes(size) == text
