"""Reading of `.pt` files that may come from a stranger: only tensors, and nothing is executed.

A file that is something else is named as what it is. torch's own messages are not passed on,
because they advise to read the file with `weights_only=False`, which executes what is in it.
"""

import mmap
import pickle
import pickletools
import re
import warnings
import zipfile
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import torch
from torch import Tensor

from ddspec.dsl.available_memory import claim
from ddspec.dsl.diagnostics import DataError, DdspecError
from ddspec.dsl.regular_file import UnfitFile, check_regular_file

BYTES_PER_OBJECT = 2000
"""Memory of a tensor without its numbers, and of what belongs to it in Python."""

MOST_OPCODES = 5_000_000
"""Most instructions of a pickle in torch's format before 1.6; a buffer has some 200,000."""

DOWNLOAD_AGAIN = "download it again; open it in a browser to see what came instead of the file"

BEGINNINGS: tuple[tuple[bytes, str, str], ...] = (
    (
        b"version https://git-lfs.github.com",
        "it is a pointer of Git LFS, not the file itself",
        "git lfs pull, in the folder of that repository, downloads the file",
    ),
    (b"<!doctype html", "it is a web page", DOWNLOAD_AGAIN),
    (b"<html", "it is a web page", DOWNLOAD_AGAIN),
    (b"<?xml", "it is an XML document, perhaps the error of a server", DOWNLOAD_AGAIN),
    (b"\x93numpy", "it is a NumPy array file", ""),
    (b"\x89hdf\r\n", "it is an HDF5 file", ""),
    (b"\x1f\x8b", "it is compressed by gzip", "unpack it with gunzip or tar"),
    (b"7z\xbc\xaf", "it is a 7z archive", "unpack it"),
    (b"rar!", "it is a RAR archive", "unpack it"),
    (b"bzh", "it is compressed by bzip2", "unpack it"),
    (b"\xfd7zxz", "it is compressed by xz", "unpack it"),
)
"""How files begin (in lower case) that are often found under the name of another; what it means."""

GLOBAL = re.compile(r"\bGLOBAL ([\w.]+)")
"""Name of the object that torch refuses to make, in its message."""


class NumpyDtype:
    """The type of a pickled NumPy number, of which only usual ones are read."""

    def __init__(self, text: str, *options: Any) -> None:
        if text not in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "b1"):
            raise ValueError(f"no number has the type {text!r}")
        self.dtype = np.dtype(text)

    def __setstate__(self, state: Any) -> None:
        if tuple(state)[1] not in ("<", "|"):
            raise ValueError(f"no number has the byte order {state!r}")


def numpy_number(dtype: NumpyDtype, data: bytes) -> float:
    """Return a pickled NumPy number."""
    return float(np.frombuffer(data, dtype.dtype, count=1)[0])


NUMPY_NUMBERS: list[Any] = [
    (NumpyDtype, "numpy.dtype"),
    (numpy_number, "numpy.core.multiarray.scalar"),
    (numpy_number, "numpy._core.multiarray.scalar"),
]
"""Our replacements for NumPy's functions in a pickle, because public code saves NumPy numbers.

The originals would make values of any type and size.
"""


def load_tensors(path: Path) -> Any:
    """Return the content of a file, if it is nested lists of tensors and numbers.

    Raises DataError if the file cannot be read or holds anything else, and MachineError if it
    needs more memory than there is.
    """
    try:
        size = check_regular_file(path)
        check_beginning(path, size)
        mapped = zipfile.is_zipfile(path)
        claim_objects(path, size, mapped)
        with warnings.catch_warnings():
            # torch warns about files before it rejects them.
            warnings.simplefilter("ignore")
            with torch.serialization.safe_globals(NUMPY_NUMBERS):
                return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except DdspecError:
        raise
    except UnfitFile as error:
        folder = "give the files in it" if path.is_dir() else ""
        raise DataError(f"{path}: {error}", hint=folder) from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or 'it is damaged'}") from None
    except Exception as error:  # A stranger's bytes can make the reader raise any exception.
        raise refusal(path, error) from None


def check_beginning(path: Path, size: int) -> None:
    """Raise DataError if a file begins like one of another kind."""
    if size == 0:
        raise DataError(f"{path.name}: it is empty", hint="copy or download it again")
    with path.open("rb") as file:
        start = file.read(512)
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for beginning, problem, hint in BEGINNINGS:
        if text.startswith(beginning) or start.startswith(beginning):
            raise DataError(f"{path.name}: {problem}", hint=hint)
    if start[257:262] == b"ustar":
        raise DataError(f"{path.name}: it is a tar archive", hint="unpack it")
    if start.startswith(b"PK\x03\x04") and not zipfile.is_zipfile(path):
        raise DataError(
            f"{path.name}: it is incomplete: its end is missing", hint="copy or download it again"
        )


def claim_objects(path: Path, size: int, is_zip: bool) -> None:
    """Check the memory that a file needs when it is read.

    Numbers stay in the file, but a pickle can make a tensor of a few bytes. Raises DataError if
    the file is not one of torch, or claims more than it holds.
    """
    if is_zip:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            pickles = [member for member in members if member.filename.endswith("data.pkl")]
            if not pickles:
                arrays = any(member.filename.endswith(".npy") for member in members)
                kind = "an .npz file of NumPy" if arrays else "a zip archive of other files"
                raise DataError(f"{path.name}: it is {kind}", hint="" if arrays else "unpack it")
            if sum(member.file_size for member in members) > size:
                raise DataError(
                    f"{path.name}: it claims to hold more than its {size:,} bytes",
                    hint="torch.save writes files without compression; save it again with it",
                )
            claim(pickles[0].file_size, f"{path.name}: its list of objects")
            objects = archive.read(pickles[0]).count(pickle.REDUCE)
    else:
        objects = legacy_objects(path)
    claim(objects * BYTES_PER_OBJECT, f"{path.name}: reading its {objects:,} objects")


def legacy_objects(path: Path) -> int:
    """Return the number of objects in a file of torch's format before 1.6, a row of pickles."""
    opcodes = objects = 0
    # A mapped file never yields more than it has, whatever length a pickle claims.
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
    ):
        for _ in range(5):  # Magic number, protocol, system, objects, and names of storages.
            for opcode, _, _ in pickletools.genops(cast(IO[bytes], mapped)):
                opcodes += 1
                objects += opcode.code == "R"
                if opcodes > MOST_OPCODES:
                    raise DataError(
                        f"{path.name}: it has more than {MOST_OPCODES:,} objects in torch's "
                        "format before 1.6",
                        hint="save it again with a newer torch",
                    )
    return objects


def refusal(path: Path, error: Exception) -> DataError:
    """Return the error for a file that torch refused to read."""
    refused = GLOBAL.search(str(error))
    if refused is None:
        return DataError(
            f"{path.name}: it is damaged, or not a file that torch.save wrote",
            hint="copy or download it again",
        )
    if refused[1].startswith("numpy"):
        return DataError(
            f"{path.name}: it contains NumPy arrays, and only tensors are read",
            hint="convert each array with torch.from_numpy and save the file again",
        )
    return DataError(
        f"{path.name}: it contains more than tensors ({refused[1][:100]}), which is not read, "
        "because reading it could execute what is in the file",
        hint="save it again as nested lists of tensors, where you trust it",
    )


def is_plain(tensor: Tensor) -> bool:
    """Return whether a tensor has its floating-point numbers in memory, in one dense block."""
    return (
        tensor.device.type == "cpu"
        and not tensor.is_nested
        and tensor.layout == torch.strided
        and tensor.is_floating_point()
    )
