"""Damage inside HDF5 files is found, and files that lead elsewhere are refused."""

import h5py
import numpy as np
import pytest

from ddspec.engine.store.hdf5_file import (
    SMALL_BYTES,
    SNAPSHOTS,
    check_self_contained,
    checksum,
    corrupt_arrays,
    read_text_attribute,
    set_attributes,
    write_arrays,
)

LARGE = np.arange(SMALL_BYTES, dtype=np.float32).reshape(100, -1)


@pytest.fixture
def file(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as opened:
        yield opened


def test_checksum_does_not_depend_on_byte_order_or_memory_layout():
    numbers = np.arange(12, dtype="<f4").reshape(3, 4)
    assert checksum(numbers) == checksum(numbers.astype(">f4"))
    assert checksum(numbers) == checksum(np.asfortranarray(numbers))
    assert checksum(numbers) != checksum(numbers + 1)


def test_large_snapshots_have_a_chunk_each_and_small_arrays_none(file):
    write_arrays(
        file, {SNAPSHOTS: LARGE, "other": LARGE, "small": LARGE[:1], "scalar": np.array(1.5)}
    )
    assert file[SNAPSHOTS].chunks == (1, LARGE.shape[1])
    assert file["other"].chunks is not None
    assert file["other"].fletcher32
    assert file["small"].chunks is None
    assert file["scalar"].shape == ()


def test_changed_arrays_are_named_up_to_the_size_that_is_asked_for(file):
    write_arrays(file, {"large": LARGE, "small": LARGE[:1], "sound": LARGE[1:2]})
    assert [*corrupt_arrays(file)] == []
    file["large"][0, 0] = 9
    file["small"][0, 0] = 9
    assert [*corrupt_arrays(file)] == ["large", "small"]
    assert [*corrupt_arrays(file, SMALL_BYTES)] == ["small"]


@pytest.mark.parametrize("text", ["", "text", "\N{GREEK SMALL LETTER ALPHA}" * 100])
def test_texts_are_read_as_they_were_written(file, text):
    set_attributes(file, text=text, number=3)
    assert read_text_attribute(file, "text") == text
    assert file.attrs["number"] == 3


def test_attribute_that_is_missing_or_of_variable_length_is_refused(file):
    file.attrs["text"] = "h5py writes this with a variable length"
    with pytest.raises(ValueError, match="fixed length"):
        read_text_attribute(file, "text")
    with pytest.raises(KeyError):
        read_text_attribute(file, "missing")


def test_file_that_links_to_another_is_refused(file, tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["secret"] = 1.0
    file["own"] = 1.0
    check_self_contained(file)
    for link in (h5py.ExternalLink("other.h5", "secret"), h5py.SoftLink("/own")):
        file["link"] = link
        with pytest.raises(ValueError, match="link is not an array stored in the file"):
            check_self_contained(file)
        del file["link"]


def test_file_whose_array_lies_in_another_is_refused(file, tmp_path):
    (tmp_path / "raw").write_bytes(bytes(8))
    file.create_dataset("outside", (1,), "f8", external=str(tmp_path / "raw"))
    with pytest.raises(ValueError, match="outside is not an array stored in the file"):
        check_self_contained(file)
