"""A file appears whole or not at all, and leftovers of killed writers go."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ddspec.dsl.atomic_write import (
    LEFTOVER,
    LEFTOVER_SECONDS,
    PROCESS_SPACE,
    atomic_write,
    new_folder_beside,
    process_exists,
    process_space,
    remove_if_abandoned,
    seconds_since_write,
    temporary_name,
    write_text,
)


@pytest.fixture(scope="module")
def ended():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_text_replaces_a_file_and_missing_folders_are_made(tmp_path):
    path = tmp_path / "new" / "file.txt"
    assert write_text(path, "first\n") == path
    write_text(path, "second, with \N{GREEK SMALL LETTER ALPHA}\n")
    assert path.read_bytes() == "second, with \N{GREEK SMALL LETTER ALPHA}\n".encode()
    assert [*path.parent.iterdir()] == [path]


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = write_text(tmp_path / "file.txt", "old")
    with pytest.raises(RuntimeError), atomic_write(path) as temporary:
        temporary.write_text("half")
        assert LEFTOVER.fullmatch(temporary.name)
        raise RuntimeError("the disk is full")
    assert path.read_text() == "old"
    assert [*tmp_path.iterdir()] == [path]


def test_write_removes_what_a_killed_writer_left(tmp_path, ended):
    abandoned = tmp_path / f".file.txt.{PROCESS_SPACE}-{ended}-00000000"
    at_work = tmp_path / f".file.txt.{PROCESS_SPACE}-{os.getpid()}-00000000"
    for path in (abandoned, at_work):
        path.write_text("half")
    write_text(tmp_path / "file.txt", "whole")
    assert not abandoned.exists()
    assert at_work.exists()


def test_file_of_a_container_beside_this_one_is_kept(tmp_path, monkeypatch):
    this_space = process_space()
    monkeypatch.setattr(Path, "readlink", lambda path: Path("pid:[4026539999]"))
    beside = process_space()
    assert beside != this_space
    # Its process number means nothing here, and must not be looked up.
    path = tmp_path / f".x.h5.{beside}-999999999-00000000"
    path.write_text("half")
    assert not remove_if_abandoned(path)


def test_age_is_read_from_the_clock_of_the_file_system(tmp_path, monkeypatch):
    path = tmp_path / f".x.h5.{'0' * 8}-1-00000000"
    path.write_text("half")
    monkeypatch.setattr("time.time", lambda: 4e9)
    assert seconds_since_write(path) < 60
    assert [*tmp_path.iterdir()] == [path]


def test_leftover_of_another_machine_is_removed_only_when_it_is_old(tmp_path, ended):
    path = tmp_path / f".x.h5.{'0' * 8}-{ended}-00000000"
    path.write_text("half")
    assert not remove_if_abandoned(path)
    old = path.stat().st_mtime - LEFTOVER_SECONDS - 1
    os.utime(path, (old, old))
    assert remove_if_abandoned(path)
    assert not path.exists()


def test_living_writer_keeps_its_file_however_long_it_takes(tmp_path):
    path = tmp_path / f".x.h5.{PROCESS_SPACE}-{os.getpid()}-00000000"
    path.write_text("half")
    os.utime(path, (0, 0))
    assert not remove_if_abandoned(path)


def test_other_hidden_files_are_not_removed(tmp_path):
    path = tmp_path / ".hidden"
    path.write_text("")
    os.utime(path, (0, 0))
    assert not remove_if_abandoned(path)
    assert path.exists()


def test_processes_are_told_from_those_that_ended(ended):
    assert process_exists(os.getpid())
    assert not process_exists(ended)


def test_planted_link_is_never_written_through(tmp_path, monkeypatch):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder = tmp_path / "run"
    folder.mkdir()
    drawn = iter(["a" * 16, "b" * 16, "c" * 16])
    monkeypatch.setattr("ddspec.dsl.atomic_write.secrets.token_hex", lambda _: next(drawn))
    guesses = [f".file.txt.{PROCESS_SPACE}-{os.getpid()}-{letter * 16}" for letter in "ab"]
    (folder / guesses[0]).symlink_to(victim)
    (folder / guesses[1]).symlink_to(tmp_path / "absent")
    assert write_text(folder / "file.txt", "text").read_text() == "text"
    assert victim.read_text() == "precious"
    assert not (tmp_path / "absent").exists()


def test_link_under_the_final_name_is_replaced_and_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "file.txt").symlink_to(victim)
    write_text(tmp_path / "file.txt", "text")
    assert victim.read_text() == "precious"
    assert not (tmp_path / "file.txt").is_symlink()


def test_temporary_names_differ_each_time_and_are_known_as_leftovers(tmp_path):
    names = set()
    for _ in range(100):
        with atomic_write(tmp_path / "file.txt") as temporary:
            names.add(temporary.name)
            assert LEFTOVER.fullmatch(temporary.name)
    assert len(names) == 100


@pytest.mark.parametrize("name", ["[a].txt", "line\nbreak.txt", "*.txt"])
def test_leftover_of_any_name_is_removed(tmp_path, ended, name):
    beside = tmp_path / f".b.txt.{PROCESS_SPACE}-{os.getpid()}-{'0' * 16}"
    abandoned = tmp_path / f".{name}.{PROCESS_SPACE}-{ended}-{'0' * 16}"
    for path in (abandoned, beside):
        path.write_text("half")
    write_text(tmp_path / name, "whole")
    assert not abandoned.exists()
    assert beside.exists()


def test_abandoned_folder_is_removed_by_the_next_that_makes_it(tmp_path):
    target = tmp_path / "photos"
    dead = tmp_path / f".photos.{PROCESS_SPACE}-999999999-{'0' * 16}"
    elsewhere = tmp_path / f".photos.{'0' * 8}-999999999-{'0' * 16}"
    for folder in (dead, elsewhere):
        (folder / "train").mkdir(parents=True)
        (folder / "train" / "0.png").write_text("half")
    made = new_folder_beside(target)
    assert made.is_dir()
    assert not dead.exists()
    # Of another machine: it is old only if all in it is.
    for path in (elsewhere, elsewhere / "train"):
        os.utime(path, (0, 0))
    assert not remove_if_abandoned(elsewhere)
    os.utime(elsewhere / "train" / "0.png", (0, 0))
    assert remove_if_abandoned(elsewhere)
    assert [path.name for path in tmp_path.iterdir()] == [made.name]


def test_link_that_looks_like_an_abandoned_folder_is_not_followed(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("kept")
    link = tmp_path / f".photos.{PROCESS_SPACE}-999999999-{'0' * 16}"
    link.symlink_to(tmp_path / "mine")
    assert remove_if_abandoned(link)
    assert not link.is_symlink()
    assert (tmp_path / "mine" / "file").read_text() == "kept"


@pytest.mark.parametrize("name", ["x" * 255, "\u00e9" * 127, "x" * 200, "x" * 201])
def test_name_as_long_as_the_file_system_takes_is_written(tmp_path, name, ended):
    path = tmp_path / name
    leftover = temporary_name(path)
    leftover = leftover.with_name(leftover.name.replace(f"-{os.getpid()}-", f"-{ended}-"))
    leftover.write_text("half")
    write_text(path, "whole")
    assert [file.name for file in tmp_path.iterdir()] == [name]
