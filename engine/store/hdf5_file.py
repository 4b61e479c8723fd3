"""HDF5 files that reveal damage: how arrays and texts are written and checked.

Every array has the SHA-256 of its values as its attribute `sha256`. Large arrays lie in chunks,
whose own checksums HDF5 verifies whenever it reads them.
"""

import hashlib
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ddspec.dsl.available_memory import claim
from ddspec.dsl.deferring_file import DeferringFile
from ddspec.dsl.regular_file import check_regular_file

Arrays = Mapping[str, NDArray[Any]]

LIBRARY_VERSION = ("v110", "v110")
"""Oldest and newest file format to write: the first with checksums on all of its metadata."""

READ_ERRORS = (KeyError, OSError, RuntimeError, ValueError, TypeError)
"""Exceptions that h5py raises on a damaged file, depending on where the damage is."""

SNAPSHOTS = "theta"
"""Array of parameter vectors, a row per snapshot, of which readers take single rows."""

SMALL_BYTES = 100_000
"""Arrays up to this size are stored without chunks, and verified when their file is opened."""


def open_to_read(path: Path) -> h5py.File:
    """Open an HDF5 file to read it. Raises OSError if it is not a regular file.

    HDF5's own locks are off: a file with a final name never changes, and some network and
    parallel file systems have no locks, on which opening would fail.
    """
    check_regular_file(path)
    return h5py.File(path, "r", locking=False)


MOST_IN_MEMORY = 2**28
"""Bytes of arrays up to which a file is made in memory, and then written at once."""


@contextmanager
def hdf5_to_write(path: Path, array_bytes: int) -> Iterator[h5py.File]:
    """Yield a new HDF5 file, which is written to the existing file `path` when the block ends.

    `array_bytes` is the size of the arrays that will be in it. HDF5 itself never writes to the
    disk: after a failed write it would print tracebacks and not say what failed. Raises OSError
    with the system's reason.
    """
    if array_bytes > MOST_IN_MEMORY:
        with DeferringFile(path) as target, h5py.File(target, "w", libver=LIBRARY_VERSION) as file:
            yield file
        return
    content = io.BytesIO()
    with h5py.File(content, "w", libver=LIBRARY_VERSION) as file:
        yield file
    path.write_bytes(content.getbuffer())


def write_arrays(file: h5py.File, arrays: Arrays) -> None:
    """Write arrays with their checksums."""
    for name, array in arrays.items():
        dataset = file.create_dataset(name, data=array, **storage_options(name, array))
        set_attributes(dataset, sha256=checksum(array))


def storage_options(name: str, array: NDArray[Any]) -> dict[str, Any]:
    """Return the options of `create_dataset` for an array.

    Snapshots get one chunk each, because the outer loop reads two of them at a time. Small
    arrays get none, which saves the index that chunks need.
    """
    if array.ndim == 0 or array.nbytes <= SMALL_BYTES:
        return {}
    return {"fletcher32": True, "chunks": (1, *array.shape[1:]) if name == SNAPSHOTS else True}


def checksum(array: NDArray[Any]) -> str:
    """Return the SHA-256 of an array's values in little-endian order."""
    return hashlib.sha256(little_endian(array)).hexdigest()


def little_endian(array: NDArray[Any]) -> bytes:
    """Return an array's values in little-endian order."""
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()


def corrupt_arrays(file: h5py.File, largest: int | None = None) -> Iterator[str]:
    """Yield the names of arrays that differ from their checksums.

    Only arrays of at most `largest` bytes are read, unless it is None.
    """
    for name in file:
        dataset = file[name]
        if largest is not None and dataset.nbytes > largest:
            continue
        if stored_checksum(dataset) != read_text_attribute(dataset, "sha256"):
            yield name


BYTES_AT_ONCE = 2**26
"""Bytes of an array that are read at once to check it."""


def stored_checksum(dataset: h5py.Dataset) -> str:
    """Return the checksum of a stored array, of which only some rows are in memory at once.

    Raises MachineError if a single row does not fit into memory.
    """
    if not dataset.shape or not dataset.size:
        return checksum(np.asarray(dataset[()]))
    row_bytes = dataset.nbytes // dataset.shape[0]
    if row_bytes > BYTES_AT_ONCE:
        claim(3 * row_bytes, f"checking {dataset.name} of {Path(dataset.file.filename).name}")
    rows, hasher = max(1, BYTES_AT_ONCE // max(1, row_bytes)), hashlib.sha256()
    for first in range(0, dataset.shape[0], rows):
        hasher.update(little_endian(dataset[first : first + rows]))
    return hasher.hexdigest()


def set_attributes(owner: h5py.Group | h5py.Dataset, **attributes: Any) -> None:
    """Set attributes; each text is stored with a fixed length.

    HDF5 keeps texts of variable length in a heap without checksums, where a single corrupt byte
    can make the HDF5 library loop forever.
    """
    for name, value in attributes.items():
        if isinstance(value, str):
            content = value.encode()
            dtype = h5py.string_dtype("utf-8", max(1, len(content)))
            owner.attrs.create(name, np.array(content, dtype=dtype))
        else:
            owner.attrs[name] = value


def read_series(file: h5py.File, name: str) -> tuple[float, ...]:
    """Return a series of a synthetic set; files of earlier versions lack those that came later."""
    key = f"series_{name}"
    return tuple(map(float, file[key][()])) if key in file else ()


def read_text_attribute(owner: h5py.Group | h5py.Dataset, name: str) -> str:
    """Return a text attribute.

    Raises KeyError if it is missing, ValueError if it is not a text of fixed length.
    """
    if owner.attrs.get_id(name).dtype.kind != "S":
        raise ValueError(f"{name} is not a text of fixed length")
    return bytes(owner.attrs[name]).decode()


def check_self_contained(file: h5py.File) -> None:
    """Raise ValueError if a file refers to others, or claims arrays that it does not hold.

    Otherwise a stranger's file could make us read any file of the user, and a file of a few kB
    could take all memory. ddspec stores arrays uncompressed, so each takes its bytes in the file.
    """
    size = file.id.get_filesize()
    for name in file:
        link = file.get(name, getlink=True)
        dataset = file[name] if isinstance(link, h5py.HardLink) else None
        if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual:
            raise ValueError(f"{name} is not an array stored in the file itself")
        if dataset.nbytes > min(size, dataset.id.get_storage_size()):
            claimed = f"{dataset.nbytes:,} bytes of its {name}"
            raise ValueError(f"the file of {size:,} bytes does not hold the {claimed}")
