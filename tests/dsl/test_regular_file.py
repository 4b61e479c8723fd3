"""Only regular files of a bounded size are read."""

import hashlib
import os
import socket
from pathlib import Path

import pytest

from ddspec.dsl.regular_file import (
    UnfitFile,
    check_regular_file,
    open_regular_file,
    read_regular_file,
    sha256_of,
)

READERS = [read_regular_file, sha256_of, check_regular_file]


def make_unfit(path: Path, kind: str) -> None:
    """Put something that is not a regular file at a path."""
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "device":
            path.symlink_to("/dev/zero")
        case "socket":
            with socket.socket(socket.AF_UNIX) as unix:
                unix.bind(str(path))
        case _:
            path.symlink_to(path)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "socket", "leads to itself"])
def test_what_is_not_a_regular_file_is_refused_in_words(tmp_path, no_hang, reader, kind):
    make_unfit(tmp_path / "x", kind)
    with no_hang(kind), pytest.raises(UnfitFile, match=kind) as raised:
        reader(tmp_path / "x")
    assert str(raised.value) == raised.value.strerror


def test_file_that_became_a_pipe_meanwhile_is_refused(tmp_path, no_hang, monkeypatch):
    os.mkfifo(tmp_path / "x")
    monkeypatch.setattr("ddspec.dsl.regular_file.check_regular_file", lambda path: 0)
    with no_hang("pipe"), pytest.raises(UnfitFile, match="a pipe"):
        read_regular_file(tmp_path / "x")


def test_links_to_regular_files_are_read(tmp_path):
    (tmp_path / "x").write_bytes(b"content")
    (tmp_path / "link").symlink_to(tmp_path / "x")
    assert read_regular_file(tmp_path / "link") == b"content"
    assert sha256_of(tmp_path / "link") == hashlib.sha256(b"content").hexdigest()
    assert check_regular_file(tmp_path / "link") == 7


def test_larger_files_are_refused_before_they_are_read(tmp_path):
    with (tmp_path / "x").open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(UnfitFile, match=r"larger than 500 MB"):
        read_regular_file(tmp_path / "x")
    (tmp_path / "x").write_bytes(b"12345")
    assert read_regular_file(tmp_path / "x", 5) == b"12345"
    with pytest.raises(UnfitFile, match="larger than"):
        read_regular_file(tmp_path / "x", 4)


def test_file_that_hides_its_size_is_read_up_to_the_limit(tmp_path, monkeypatch):
    path = tmp_path / "x"
    path.write_bytes(b"1" * 3_000_000)
    honest = os.fstat

    def hidden(descriptor: int) -> os.stat_result:
        state = list(honest(descriptor))
        state[6] = 0
        return os.stat_result(state)

    monkeypatch.setattr("ddspec.dsl.regular_file.os.fstat", hidden)
    with pytest.raises(UnfitFile, match="larger than"):
        read_regular_file(path, 1_000_000)


def test_missing_file_and_odd_name_are_errors_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_regular_file(tmp_path / "x")
    with pytest.raises(OSError, match="not a file name"):
        read_regular_file(tmp_path / "x\0y")


def test_files_are_closed_again(tmp_path):
    (tmp_path / "x").write_bytes(b"content")
    with open_regular_file(tmp_path / "x") as descriptor:
        assert os.read(descriptor, 3) == b"con"
    with pytest.raises(OSError, match=r"[Bb]ad file"):
        os.fstat(descriptor)
