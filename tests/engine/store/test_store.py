"""Artifacts are what their names say, and are refused when damaged."""

import errno
import fcntl
import os

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddspec.dsl.atomic_write import atomic_write
from ddspec.dsl.diagnostics import StoreError
from ddspec.dsl.digest import digest
from ddspec.dsl.plan.route import Route
from ddspec.engine.store.evaluation_file import read_networks
from ddspec.engine.store.hdf5_file import checksum, read_text_attribute
from ddspec.engine.store.provenance import Provenance
from ddspec.engine.store.store import Store

MADE = Provenance((Route(device="cpu", threads=1),), seconds=1.5)
PREIMAGE = {"step": "test", "member": 3}
NAME = digest(PREIMAGE)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def files(store):
    """Return the names of all files in a store."""
    return sorted(path.name for path in store.root.rglob("*") if path.is_file())


@given(st.lists(st.floats(allow_nan=False, width=32), max_size=20))
@settings(max_examples=20, deadline=None)
def test_arrays_come_back_bitwise(tmp_path_factory, numbers):
    store = Store(tmp_path_factory.mktemp("store"))
    array = np.array(numbers, dtype=np.float32)
    store.put("expert", PREIMAGE, {"theta": array}, MADE)
    with store.open("expert", NAME) as file:
        assert np.array_equal(file["theta"][()], array)
        assert read_text_attribute(file["theta"], "sha256") == checksum(array)
    assert store.provenance("expert", NAME) == MADE


def test_failed_write_keeps_the_earlier_artifact_and_leaves_nothing_else(store):
    store.put("expert", PREIMAGE, {"theta": np.zeros(3)}, MADE)
    with pytest.raises(RuntimeError), atomic_write(store.path("expert", NAME)) as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError("the disk is full")
    assert files(store) == [f"{NAME}.h5"]
    with store.open("expert", NAME) as file:
        assert np.array_equal(file["theta"][()], np.zeros(3))


@pytest.mark.parametrize("cut", [0, 10, 500])
def test_truncated_artifact_is_refused_with_a_hint(store, cut):
    store.put("expert", PREIMAGE, {"theta": np.arange(5000.0)}, MADE)
    path = store.path("expert", NAME)
    os.truncate(path, cut)
    with pytest.raises(StoreError) as caught, store.open("expert", NAME) as file:
        file["theta"][()]
    assert NAME in str(caught.value)
    assert "move that file" in caught.value.hint


def test_artifact_under_another_name_is_refused(store):
    store.put("expert", PREIMAGE, {"theta": np.zeros(3)}, MADE)
    other = digest({"another": 1})
    store.path("expert", NAME).rename(store.path("expert", other))
    with pytest.raises(StoreError, match="not what its name says"), store.open("expert", other):
        pass


def test_artifact_that_is_whole_at_a_second_look_is_not_called_damaged(store):
    store.put("expert", PREIMAGE, {"theta": np.arange(5000.0)}, MADE)
    with pytest.raises(StoreError, match="second attempt succeeded") as caught:  # noqa: SIM117
        with store.open("expert", NAME):
            raise OSError("Can't synchronously read data (errno = 116)")
    assert "delete" not in caught.value.hint


def test_artifact_that_the_system_does_not_open_is_not_called_damaged(store):
    path = store.path("expert", NAME)
    path.mkdir(parents=True)
    with pytest.raises(StoreError, match="cannot be read: it is a folder") as caught:
        store.reader("expert", NAME)
    assert "delete" not in caught.value.hint


def test_reading_takes_no_lock_of_the_file_system(store):
    store.put("expert", PREIMAGE, {"theta": np.zeros(3)}, MADE)
    with store.path("expert", NAME).open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with store.open("expert", NAME) as file:
            assert len(file["theta"]) == 3


def test_other_format_is_named_and_refused(store):
    store.put("expert", PREIMAGE, {"theta": np.zeros(3)}, MADE)
    with h5py.File(store.path("expert", NAME), "a") as file:
        file.attrs["format"] = 99
    with pytest.raises(StoreError, match="format 99"), store.open("expert", NAME):
        pass


def test_missing_array_counts_as_damage(store):
    store.put("expert", PREIMAGE, {"other": np.zeros(3)}, MADE)
    with pytest.raises(StoreError, match="incomplete"), store.open("expert", NAME) as file:
        file["theta"]


def test_name_that_is_not_a_digest_never_becomes_a_path(store):
    with pytest.raises(ValueError, match="not a digest"):
        store.path("expert", "../../elsewhere")


def test_preimages_are_recalled_by_kind_the_latest_first(store):
    first, second = {"step": "distill", "n": 1}, {"step": "distill", "n": 2}
    for age, preimage in ((100, first), (50, second)):
        store.remember(preimage)
        path = store.root / "preimages" / f"{digest(preimage)}.json"
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    store.remember({"step": "experts"})
    assert list(store.remembered("distill")) == [second, first]
    assert store.recall(digest(first)) == first
    assert store.recall("0" * 32) is None


@pytest.mark.parametrize("position", [0.1, 0.5, 0.9])
def test_flipped_bit_in_an_array_is_damage(store, position):
    store.put("evaluation", PREIMAGE, {"values": np.linspace(0, 1, 50)}, MADE, {"student_lr": 0.01})
    path = store.path("evaluation", NAME)
    with h5py.File(path) as file:
        start = file["values"].id.get_offset()
    content = bytearray(path.read_bytes())
    content[start + int(400 * position)] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(StoreError, match="corrupt"):
        read_networks(store, NAME)


def test_damaged_preimage_is_not_recalled(store):
    store.remember(PREIMAGE)
    (path,) = (store.root / "preimages").iterdir()
    for garbage in ('{"step": "test", "needs": [1]}', "[" * 5000, "[]", "no json"):
        path.write_text(garbage)
        assert store.recall(NAME) is None
        assert list(store.remembered("test")) == []


HDF5_WORDS = (
    "Can't synchronously {verb} data (file {verb} failed: time = Thu Nov 26, filename = 'x.h5', "
    "file descriptor = 5, errno = {number}, error message = '...', buf = 0x1, total {verb} size = 8)"
)
"""How HDF5 reports an error of the system."""


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EMFILE, errno.EACCES])
@pytest.mark.parametrize("in_text", [True, False])
def test_error_of_the_system_is_not_called_damage(tmp_path, monkeypatch, number, in_text):
    store = Store(tmp_path)
    store.put("evaluation", {"x": 1}, {"values": np.zeros(3)}, Provenance())
    words = HDF5_WORDS.format(verb="read", number=number)
    error = OSError(words) if in_text else OSError(number, os.strerror(number))

    def fail(*arguments, **options):
        raise error

    for place in ("open_to_read", "corrupt_arrays"):
        with monkeypatch.context() as patched:
            patched.setattr(f"ddspec.engine.store.store.{place}", fail)
            with pytest.raises(StoreError) as caught:
                store.reader("evaluation", digest({"x": 1}))
        assert os.strerror(number) in str(caught.value)
        assert "move" not in caught.value.hint
        assert "corrupt" not in str(caught.value)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "MB are free there"),
        (errno.EDQUOT, "MB are free there"),
        (errno.EIO, os.strerror(errno.EIO)),
        (errno.ENOLCK, os.strerror(errno.ENOLCK)),
    ],
)
def test_failed_write_says_why(tmp_path, monkeypatch, number, words):
    def fail(*arguments, **options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("ddspec.dsl.atomic_write.os.fsync", fail)
    with pytest.raises(StoreError, match="could not be written") as caught:
        Store(tmp_path).put("evaluation", {"x": 1}, {"values": np.zeros(3)}, Provenance())
    assert words in str(caught.value)
    assert os.strerror(number) in str(caught.value)
    assert ("free some space" in caught.value.hint) == (words == "MB are free there")
