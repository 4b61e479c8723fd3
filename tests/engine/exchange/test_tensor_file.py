"""Files that are not of torch are named as what they are, and none takes much memory."""

import io
import os
import pickle
import tarfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from ddspec.dsl import available_memory
from ddspec.dsl.diagnostics import DataError, MachineError
from ddspec.engine.exchange import tensor_file
from ddspec.engine.exchange.tensor_file import load_tensors


def refused(path: Path) -> str:
    """Message and hint of the refusal, which never passes torch's advice on."""
    with pytest.raises(DataError) as error:
        load_tensors(path)
    text = f"{error.value} | {error.value.hint}"
    assert "weights_only" not in text
    assert "\x1b" not in text
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "Git LFS"),
        (b"<!DOCTYPE html><html><title>Virus scan warning</title>", "a web page"),
        (b"\n\n  <HTML>", "a web page"),
        (b"<?xml version='1.0'?><Error>", "XML"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"Rar!\x1a\x07", "RAR"),
        (b"PK\x03\x04" + bytes(50), "incomplete"),
        (b"anything else", "damaged, or not a file that torch.save wrote"),
        (pickle.dumps([1, 2]), "damaged, or not"),
    ],
)
def test_other_files_are_named(tmp_path: Path, content: bytes, words: str):
    path = tmp_path / "replay_buffer_0.pt"
    path.write_bytes(content)
    assert words in refused(path)


def test_containers_of_arrays_are_named(tmp_path: Path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    assert "a NumPy array file" in refused(tmp_path / "a.npy")
    np.savez(tmp_path / "a.npz", a=np.zeros(3))
    assert "an .npz file of NumPy" in refused(tmp_path / "a.npz")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"] = 1
    assert "an HDF5 file" in refused(tmp_path / "a.h5")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("replay_buffer_0.pt", b"x")
    assert "a zip archive of other files" in refused(tmp_path / "a.zip")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("a"), io.BytesIO())
    assert "a tar archive" in refused(tmp_path / "a.tar")
    torch.save([[np.zeros(3)]], tmp_path / "arrays.pt")
    assert "it contains NumPy arrays" in refused(tmp_path / "arrays.pt")
    torch.save([Path()], tmp_path / "path.pt")
    assert "more than tensors (pathlib" in refused(tmp_path / "path.pt")


def test_cut_files_are_refused_at_every_length(tmp_path: Path):
    for legacy in (False, True):
        path = tmp_path / "whole.pt"
        torch.save(
            [torch.zeros(300), torch.ones(300)], path, _use_new_zipfile_serialization=not legacy
        )
        content = path.read_bytes()
        assert len(load_tensors(path)) == 2
        for length in range(0, len(content), 97):
            (tmp_path / "cut.pt").write_bytes(content[:length])
            refused(tmp_path / "cut.pt")


def test_what_is_not_a_regular_file_is_refused_at_once(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.pt")
    assert "it is a pipe" in refused(tmp_path / "pipe.pt")
    assert "give the files in it" in refused(tmp_path)
    assert "cannot be read" in refused(tmp_path / "none.pt")
    (tmp_path / "loop.pt").symlink_to(tmp_path / "loop.pt")
    assert "a link that leads to itself" in refused(tmp_path / "loop.pt")


def test_compressed_files_that_claim_more_than_they_hold_are_refused(tmp_path: Path):
    torch.save([torch.zeros(10**6)], tmp_path / "whole.pt")
    with (
        zipfile.ZipFile(tmp_path / "whole.pt") as whole,
        zipfile.ZipFile(tmp_path / "small.pt", "w", zipfile.ZIP_DEFLATED) as small,
    ):
        for name in whole.namelist():
            small.writestr(name, whole.read(name))
    assert "claims to hold more than its" in refused(tmp_path / "small.pt")


@pytest.mark.parametrize("legacy", [False, True])
def test_memory_of_objects_is_claimed_before_they_are_made(tmp_path, monkeypatch, legacy):
    path = tmp_path / "many.pt"
    tensor = torch.zeros(1)
    torch.save([tensor[:] for _ in range(500)], path, _use_new_zipfile_serialization=not legacy)
    assert len(load_tensors(path)) == 500
    monkeypatch.setattr(available_memory, "available_memory", lambda: 500_000)
    with pytest.raises(MachineError, match=r"many.pt: reading its 1,.* objects needs"):
        load_tensors(path)
    monkeypatch.setattr(tensor_file, "MOST_OPCODES", 100)
    if legacy:
        assert "more than 100 objects" in refused(path)
