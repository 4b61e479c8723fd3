"""Libraries that write meet no failure of the system; it is raised afterwards."""

import errno
import io
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ddspec.dsl.atomic_write import atomic_file
from ddspec.dsl.deferring_file import DeferringFile
from ddspec.engine.store.hdf5_file import MOST_IN_MEMORY, hdf5_to_write, write_arrays

FULL = Path("/dev/full")
IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8))
ARRAYS = {
    "theta": np.ones((50, 20_000), dtype=np.float32),
    "wide": np.ones((300, 300)),
    "number": np.array(3.0),
}

needs_full = pytest.mark.skipif(not FULL.exists(), reason="the system has no /dev/full")


def write_hdf5(path: Path) -> None:
    with hdf5_to_write(path, MOST_IN_MEMORY + 1) as file:
        write_arrays(file, ARRAYS)


def write_with(write) -> Callable[[Path], None]:
    def to_path(path: Path) -> None:
        with DeferringFile(path) as file:
            write(file)

    return to_path


WRITERS = {
    "h5py": write_hdf5,
    "Pillow": write_with(lambda file: IMAGE.save(file, format="PNG")),
    "torch": write_with(lambda file: torch.save(torch.ones(100_000), file)),
    "NumPy": write_with(lambda file: np.savez(file, allow_pickle=False, **ARRAYS)),
}


@needs_full
@pytest.mark.parametrize("library", WRITERS)
def test_full_disk_is_told_in_the_words_of_the_system(library, capfd):
    with pytest.raises(OSError, match="No space left") as caught:
        WRITERS[library](FULL)
    assert caught.value.errno == errno.ENOSPC
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("library", WRITERS)
def test_library_writes_what_it_would_write_to_memory(library, tmp_path):
    """To HDF5, whose layout may differ, the same arrays."""
    path = tmp_path / "file"
    path.touch()
    WRITERS[library](path)
    match library:
        case "h5py":
            import h5py

            with h5py.File(path) as file:
                for name, array in ARRAYS.items():
                    assert np.array_equal(file[name][()], array)
        case "Pillow":
            memory = io.BytesIO()
            IMAGE.save(memory, format="PNG")
            assert path.read_bytes() == memory.getvalue()
        case "torch":
            assert torch.equal(torch.load(path), torch.ones(100_000))
        case _:
            with np.load(path) as loaded:
                assert all(np.array_equal(loaded[name], array) for name, array in ARRAYS.items())


def test_file_behaves_as_one_in_memory(tmp_path):
    draw, memory = random.Random(0), io.BytesIO()
    path = tmp_path / "file"
    path.touch()
    with DeferringFile(path) as file:
        for _ in range(500):
            position, size = draw.randrange(3000), draw.randrange(200)
            for target in (file, memory):
                target.seek(position)
            match draw.randrange(3):
                case 0:
                    content = draw.randbytes(size)
                    assert file.write(content) == memory.write(content)
                case 1:
                    assert file.read(size) == memory.read(size)
                case _ if size < 20:
                    memory.seek(0, io.SEEK_END)
                    position = min(position, memory.tell())
                    assert file.truncate(position) == memory.truncate(position)
            assert file.seek(0, io.SEEK_END) == memory.seek(0, io.SEEK_END)
    assert path.read_bytes() == memory.getvalue()


@needs_full
def test_error_of_the_library_is_replaced_by_the_failure_before_it(tmp_path):
    with pytest.raises(OSError, match="No space left"), DeferringFile(FULL) as file:
        file.write(b"x")
        raise RuntimeError("unexpected pos 64 vs 0")


def test_failed_file_is_not_renamed_and_is_named(tmp_path, monkeypatch):
    path = tmp_path / "whole"
    path.write_text("whole")

    def fail(*arguments):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(DeferringFile, "write_at", fail)
    with pytest.raises(OSError, match="Input/output error") as caught, atomic_file(path) as file:
        file.write(b"half")
    assert caught.value.filename == str(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["whole"]
    assert path.read_text() == "whole"


@needs_full
def test_interruption_is_not_replaced(tmp_path):
    with pytest.raises(KeyboardInterrupt), DeferringFile(FULL) as file:
        file.write(b"x")
        raise KeyboardInterrupt
