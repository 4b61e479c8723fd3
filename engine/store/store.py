"""Artifacts on disk: HDF5 files named by the digest of the settings that made them.

A file under its final name is complete: it was written beside that name, flushed, verified and
renamed. Its attributes say what it is: format, kind, digest, the canonical JSON that was hashed,
and how it was made (`provenance.py`). Pre-images of whole steps lie in
their own folder, so that a plan can say what changed without opening artifacts.
"""

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py

from ddspec.dsl.atomic_write import LEFTOVER, atomic_write, write_text
from ddspec.dsl.diagnostics import StoreError
from ddspec.dsl.digest import DIGEST, Preimage, canonical, digest
from ddspec.dsl.regular_file import UnfitFile, read_regular_file, resolved
from ddspec.dsl.terminal_text import message_of
from ddspec.engine.store.hdf5_file import (
    READ_ERRORS,
    SMALL_BYTES,
    Arrays,
    check_self_contained,
    corrupt_arrays,
    hdf5_to_write,
    open_to_read,
    read_text_attribute,
    set_attributes,
    write_arrays,
)
from ddspec.engine.store.provenance import Provenance

FORMAT = 2
"""Number of the artifacts' format; artifacts with another number are refused."""

ArtifactKind = Literal[
    "dataset",
    "whitening",
    "scores",
    "expert",
    "unfinished",
    "trajectory",
    "path",
    "synthetic",
    "imported_set",
    "evaluation",
]


@dataclass(frozen=True)
class Store:
    """A folder of artifacts, `KIND/DIGEST.h5`, with preimages and notes beside them."""

    root: Path

    def path(self, kind: ArtifactKind, name: str) -> Path:
        """Return the path of an artifact, whether it exists or not.

        Raises ValueError if `name` is not a digest.
        """
        if not re.fullmatch(DIGEST, name):
            raise ValueError(f"{name!r} is not a digest")
        return self.root / kind / f"{name}.h5"

    def has(self, kind: ArtifactKind, name: str) -> bool:
        """Return whether the artifact exists."""
        return self.path(kind, name).exists()

    def reread_folders(self) -> None:
        """Read the names of all artifacts again.

        A network file system may remember for a minute that a name is missing, which another
        machine has made since; reading the folder makes it ask the server.
        """
        for folder in self.root.iterdir() if self.root.is_dir() else ():
            if folder.is_dir():
                list(folder.iterdir())

    def size(self, kind: ArtifactKind, name: str) -> int:
        """Return the artifact's bytes on disk; 0 if it does not exist."""
        path = self.path(kind, name)
        return path.stat().st_size if path.exists() else 0

    def reader(self, kind: ArtifactKind, name: str) -> h5py.File:
        """Open an artifact, which the caller closes.

        Raises StoreError if it is missing, damaged, of another format, or not the artifact that
        its name promises. Large arrays are verified only as they are read.
        """
        path = self.path(kind, name)
        if not path.exists():
            raise StoreError(
                f"artifact {kind}/{path.name} is not in the store",
                hint="run the plan with the store that it was made with",
            )
        try:
            file = open_to_read(path)
        except OSError as error:
            raise reading_error(path, error, "cannot be read as HDF5") from error
        try:
            check_self_contained(file)
            check_identity(file, path, kind, name)
            Provenance.of(file)
            for array in corrupt_arrays(file, SMALL_BYTES):
                raise damaged_artifact(path, f"is corrupt in {array}")
        except StoreError:
            file.close()
            raise
        except READ_ERRORS as error:
            file.close()
            raise reading_error(path, error) from error
        return file

    def second_look(self, kind: ArtifactKind, name: str) -> StoreError:
        """Return the error for an artifact that failed to be read, after opening it again.

        A whole file fails too if another run replaced it meanwhile on a network file system, so
        only a file that fails twice is called damaged.
        """
        path = self.path(kind, name)
        try:
            with self.reader(kind, name) as file:
                for array in corrupt_arrays(file):
                    return damaged_artifact(path, f"is corrupt in {array}")
        except StoreError as error:
            return error
        except READ_ERRORS as error:
            return reading_error(path, error)
        return StoreError(
            f"artifact {kind}/{path.name} could not be read, but a second attempt succeeded",
            hint="another run replaced it, or the file system failed for a moment; run the same "
            "command again",
        )

    @contextlib.contextmanager
    def open(self, kind: ArtifactKind, name: str) -> Iterator[h5py.File]:
        """Open an artifact for the block, which must do nothing but read it.

        Raises StoreError like `reader`, and if the block raises an error of h5py.
        """
        with self.reader(kind, name) as file:
            try:
                yield file
            except (OSError, RuntimeError) as error:
                raise self.second_look(kind, name) from error
            except READ_ERRORS as error:
                raise reading_error(self.path(kind, name), error) from error

    def provenance(self, kind: ArtifactKind, name: str) -> Provenance:
        """Return how an artifact was made."""
        with self.open(kind, name) as file:
            return Provenance.of(file)

    def put(
        self,
        kind: ArtifactKind,
        preimage: Preimage,
        arrays: Arrays,
        made: Provenance,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """Write an artifact under its preimage's digest, replacing an existing one.

        It appears whole or not at all. Raises StoreError if it cannot be written, or does not
        read back as it was written.
        """
        path = self.path(kind, digest(preimage))
        size = sum(array.nbytes for array in arrays.values())
        try:
            with atomic_write(path) as temporary:
                with hdf5_to_write(temporary, size) as file:
                    set_attributes(
                        file,
                        format=FORMAT,
                        kind=kind,
                        digest=path.stem,
                        preimage=canonical(preimage),
                        **made.attributes(),
                        **(attributes or {}),
                    )
                    write_arrays(file, arrays)
                verify_written(temporary, path)
        except OSError as error:
            raise writing_error(path, error) from error

    def remove(self, kind: ArtifactKind, name: str) -> None:
        """Delete an artifact, if it exists."""
        self.path(kind, name).unlink(missing_ok=True)

    def leftovers(self) -> Iterator[Path]:
        """Yield temporary files, of killed writers and of those at work."""
        for folder in self.root.iterdir() if self.root.is_dir() else ():
            if folder.is_dir():
                yield from (path for path in folder.glob(".*") if LEFTOVER.fullmatch(path.name))

    def remember(self, preimage: Preimage) -> None:
        """Keep the preimage of a step, which lets later plans say what changed."""
        path = self.root / "preimages" / f"{digest(preimage)}.json"
        if not path.exists():
            write_text(path, canonical(preimage))

    def recall(self, name: str) -> Preimage | None:
        """Return the preimage of a digest; None if it was not kept or is damaged."""
        preimage = read_json(self.root / "preimages" / f"{name}.json")
        return preimage if isinstance(preimage, dict) and digest(preimage) == name else None

    def remembered(self, kind: str) -> Iterator[Preimage]:
        """Yield the kept preimages of all steps of a kind, the latest first."""
        folder = self.root / "preimages"
        paths = folder.glob("*.json") if folder.is_dir() else []
        for path in sorted(paths, key=lambda path: -path.stat().st_mtime):
            preimage = self.recall(path.stem)
            if preimage is not None and preimage.get("step") == kind:
                yield preimage

    def note(self, name: str, value: Any) -> None:
        """Keep a small JSON value under a name."""
        write_text(self.root / "notes" / f"{name}.json", canonical(value))

    def note_if_writable(self, name: str, value: Any) -> None:
        """Keep a small JSON value under a name, unless the store may only be read.

        For values that save time the next time, such as measured speeds.
        """
        try:
            self.note(name, value)
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
                raise

    def noted(self, name: str) -> Any:
        """Return the value kept under a name; None if there is none."""
        return read_json(self.root / "notes" / f"{name}.json")


def check_identity(file: h5py.File, path: Path, kind: str, name: str) -> None:
    """Raise StoreError if an artifact has another format, or is not what its name says."""
    number = file.attrs.get("format")
    if number != FORMAT:
        raise StoreError(
            f"artifact {kind}/{path.name} has format {number}; this ddspec reads format {FORMAT}",
            hint="use another --store, or the release of ddspec that wrote it",
        )
    # The text is hashed as it stands: a damaged one may not be JSON.
    hashed = hashlib.sha256(read_text_attribute(file, "preimage").encode()).hexdigest()[:32]
    if read_text_attribute(file, "kind") != kind or hashed != name:
        raise damaged_artifact(path, "is not what its name says")


def verify_written(temporary: Path, path: Path) -> None:
    """Raise StoreError if a file does not read back as written, before it gets its name."""
    problem = ""
    try:
        with open_to_read(temporary) as file:
            for name in corrupt_arrays(file):
                problem = f": its {name} has other values"
    except READ_ERRORS as error:
        number = system_error_number(error)
        problem = f": {message_of(error) if number is None else os.strerror(number)}"
    if problem:
        raise StoreError(
            f"artifact {path.parent.name}/{path.name} did not read back as it was written{problem}",
            hint="the disk is faulty; use another --store",
        )


def reading_error(
    path: Path, error: Exception, problem: str = "is incomplete or corrupt inside"
) -> StoreError:
    """Return the error for an artifact that failed to be read: out of reach, or damaged.

    An error of the system says nothing about the file's content.
    """
    number = system_error_number(error)
    if number is None:
        return damaged_artifact(path, problem)
    if isinstance(error, UnfitFile):
        return damaged_artifact(path, f"cannot be read: {error}")
    return StoreError(
        f"artifact {path.parent.name}/{path.name} cannot be read: {os.strerror(number)}",
        hint="check the disk and the file's permissions, then run the same command again",
    )


def writing_error(path: Path, error: OSError) -> StoreError:
    """Return the error for an artifact that could not be written."""
    reason = error.strerror or message_of(error)
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    if full:
        folder = next(folder for folder in resolved(path).parents if folder.is_dir())
        reason += f"; {shutil.disk_usage(folder).free / 1e6:.0f} MB are free there"
    return StoreError(
        f"artifact {path.parent.name}/{path.name} could not be written: {reason}",
        hint=f"{'free some space' if full else 'check the disk'} or use another --store; "
        "finished artifacts are kept",
    )


ERRNO = re.compile(r"\berrno = (\d+)\b")


def system_error_number(error: Exception) -> int | None:
    """Return the system's error number behind an error; None if it is not the system's.

    HDF5 passes the number of a failed read or write on in its text alone.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    named = ERRNO.search(str(error))
    return int(named[1]) if named else None


def damaged_artifact(path: Path, problem: str) -> StoreError:
    """Return the error for an artifact that cannot be used."""
    return StoreError(
        f"artifact {path.parent.name}/{path.name} {problem}",
        hint="move that file out of the store; the next run makes it again",
    )


def read_json(path: Path) -> Any:
    """Return the JSON value in a file; None if the file is missing or not JSON."""
    try:
        return json.loads(read_regular_file(path))
    except (OSError, ValueError, RecursionError):
        return None
