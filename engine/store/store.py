"""Artifacts on disk: HDF5 files under the digest of what made them.

A file that exists is whole: it was written beside its name, flushed and renamed. Its attributes
say what it is: format, kind, digest, the canonical JSON that was hashed, the route by which it
was computed and what it cost. Pre-images of whole steps lie in a folder of their own, so that a
plan can say what changed without opening artifacts.
"""

import contextlib
import hashlib
import json
import os
import platform
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from ddspec.dsl.diagnostics import StoreError
from ddspec.dsl.digest import Preimage, canonical, digest
from ddspec.dsl.plan.steps import Route

FORMAT = 2
CHECKED = ("v110", "v110")
"""Of HDF5's own formats the first that has checksums on all that it says about a file."""

ArtifactKind = Literal[
    "dataset",
    "whitening",
    "expert",
    "unfinished",
    "trajectory",
    "path",
    "synthetic",
    "evaluation",
]
Arrays = Mapping[str, NDArray[Any]]

READ_FAULTS = (KeyError, OSError, RuntimeError, ValueError, TypeError)
"""What HDF5 raises on files whose inside is damaged, according to where."""

DIGEST = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Provenance:
    """How an artifact came to be, over every run that worked on it."""

    routes: tuple[Route, ...] = ()
    seconds: float = 0.0

    def then(self, route: Route, seconds: float) -> "Provenance":
        """After further work on that route."""
        routes = self.routes if route in self.routes else (*self.routes, route)
        return Provenance(routes, self.seconds + seconds)

    @classmethod
    def of(cls, file: h5py.File) -> "Provenance":
        """What an artifact says of itself."""
        try:
            routes = tuple(
                map(Route.model_validate, json.loads(read_text_attribute(file, "routes")))
            )
            return cls(routes, float(file.attrs["seconds"]))
        except (KeyError, ValueError) as error:
            raise damaged_artifact(Path(file.filename), "does not say how it was made") from error


@dataclass(frozen=True)
class Store:
    """The folder of artifacts."""

    root: Path

    def path(self, kind: ArtifactKind, name: str) -> Path:
        """Where an artifact lies, whether it is there or not."""
        if not DIGEST.fullmatch(name):
            raise ValueError(f"{name!r} is no digest")
        return self.root / kind / f"{name}.h5"

    def has(self, kind: ArtifactKind, name: str) -> bool:
        """Whether the artifact is there."""
        return self.path(kind, name).exists()

    def size(self, kind: ArtifactKind, name: str) -> int:
        """Bytes on disk; 0 where it is not there."""
        path = self.path(kind, name)
        return path.stat().st_size if path.exists() else 0

    def reader(self, kind: ArtifactKind, name: str) -> h5py.File:
        """An open artifact; the caller closes it. Raises StoreError where it is unfit."""
        path = self.path(kind, name)
        if not path.exists():
            raise StoreError(
                f"artifact {kind}/{path.name} is not in the store",
                hint="the store that a plan was made with is the one to run it with",
            )
        try:
            file = h5py.File(path, "r")
        except OSError as error:
            raise damaged_artifact(path, "cannot be read as HDF5") from error
        try:
            check_holds_itself(file)
            check_identity(file, path, kind, name)
            Provenance.of(file)
            check_small_parts(file, path)
        except StoreError:
            file.close()
            raise
        except READ_FAULTS as error:
            file.close()
            raise damaged_artifact(path, "is incomplete or corrupt inside") from error
        return file

    @contextlib.contextmanager
    def open(self, kind: ArtifactKind, name: str) -> Iterator[h5py.File]:
        """An artifact to read from, and only to read: faults inside are taken for damage."""
        with self.reader(kind, name) as file:
            try:
                yield file
            except READ_FAULTS as error:
                raise damaged_artifact(
                    self.path(kind, name), "is incomplete or corrupt inside"
                ) from error

    def provenance(self, kind: ArtifactKind, name: str) -> Provenance:
        """Route and cost of an artifact."""
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
        """Write an artifact under the digest of its pre-image, replacing one that is there."""
        name = digest(preimage)

        def fill(file: h5py.File) -> None:
            set_attributes(
                file,
                format=FORMAT,
                kind=kind,
                digest=name,
                preimage=canonical(preimage),
                routes=canonical([route.model_dump() for route in made.routes]),
                seconds=made.seconds,
                **(attributes or {}),
            )
            for key, array in arrays.items():
                written = file.create_dataset(key, data=array, **storage_options(key, array))
                set_attributes(written, sha256=checksum(array))

        self.write(self.path(kind, name), fill)

    def write(self, path: Path, fill: Callable[[h5py.File], None]) -> None:
        """Make an HDF5 file that appears whole or not at all."""
        with atomic_write(path) as beside:
            try:
                with h5py.File(beside, "w", libver=CHECKED) as file:
                    fill(file)
            except (OSError, RuntimeError) as error:
                # HDF5 reports a full disk as either, and not always with its number.
                free = shutil.disk_usage(path.parent).free
                raise StoreError(
                    f"artifact {path.parent.name}/{path.name} could not be written; "
                    f"{free / 1e6:.0f} MB are free there",
                    hint="make room or use another --store; what was finished before is kept",
                ) from error
            verify_written(beside, path)

    def remove(self, kind: ArtifactKind, name: str) -> None:
        """Forget an artifact."""
        self.path(kind, name).unlink(missing_ok=True)

    def leftovers(self) -> Iterator[Path]:
        """Files that somebody began to write and did not finish, or is writing just now."""
        for folder in self.root.iterdir() if self.root.is_dir() else ():
            if folder.is_dir():
                yield from (path for path in folder.glob(".*") if LEFTOVER.fullmatch(path.name))

    def remember(self, preimage: Preimage) -> None:
        """Keep the pre-image of a step, for the reasons that later plans give."""
        path = self.root / "preimages" / f"{digest(preimage)}.json"
        if not path.exists():
            write_text(path, canonical(preimage))

    def recall(self, name: str) -> Preimage | None:
        """The pre-image of a step that ran with this store."""
        found = read_json(self.root / "preimages" / f"{name}.json")
        return found if isinstance(found, dict) and digest(found) == name else None

    def remembered(self, kind: str) -> Iterator[Preimage]:
        """Pre-images of all steps of a kind that ran with this store, the latest first."""
        folder = self.root / "preimages"
        paths = folder.glob("*.json") if folder.is_dir() else []
        for path in sorted(paths, key=lambda path: -path.stat().st_mtime):
            found = self.recall(path.stem)
            if found is not None and found.get("step") == kind:
                yield found

    def note(self, name: str, value: Any) -> None:
        """Keep a small JSON value under a name."""
        write_text(self.root / "notes" / f"{name}.json", canonical(value))

    def noted(self, name: str) -> Any:
        """The value kept under a name; None where there is none."""
        return read_json(self.root / "notes" / f"{name}.json")


def set_attributes(thing: h5py.Group | h5py.Dataset, **attributes: Any) -> None:
    """Set attributes; texts with the length that they have.

    HDF5 keeps texts of any length in a heap that has no checksum, where one wrong byte can make
    its library turn in circles.
    """
    for name, value in attributes.items():
        if isinstance(value, str):
            content = value.encode()
            kind = h5py.string_dtype("utf-8", max(1, len(content)))
            thing.attrs.create(name, np.array(content, dtype=kind))
        else:
            thing.attrs[name] = value


def read_text_attribute(thing: h5py.Group | h5py.Dataset, name: str) -> str:
    """A text among the attributes. Raises KeyError or ValueError where there is none."""
    kind = thing.attrs.get_id(name).dtype
    if kind.kind != "S":
        raise ValueError(f"{name} is no text of a known length")
    return bytes(thing.attrs[name]).decode()


def check_holds_itself(file: h5py.File) -> None:
    """Raise ValueError where a file refers to others: links out of it, numbers kept elsewhere."""
    for name in file:
        link = file.get(name, getlink=True)
        part = file[name] if isinstance(link, h5py.HardLink) else None
        if not isinstance(part, h5py.Dataset) or part.external or part.is_virtual:
            raise ValueError(f"{name} does not lie in the file itself")


def check_identity(file: h5py.File, path: Path, kind: str, name: str) -> None:
    """Refuse what is of another format, or is not what its name says."""
    found = file.attrs.get("format")
    if found != FORMAT:
        raise StoreError(
            f"artifact {kind}/{path.name} has format {found}; this ddspec reads format {FORMAT}",
            hint="use another --store, or the ddspec that wrote it",
        )
    named = hashlib.sha256(read_text_attribute(file, "preimage").encode()).hexdigest()[:32]
    if read_text_attribute(file, "kind") != kind or named != name:
        raise damaged_artifact(path, "is not what its name says")


def damaged_artifact(path: Path, problem: str) -> StoreError:
    """An artifact that cannot be used, with the way out."""
    return StoreError(
        f"artifact {path.parent.name}/{path.name} {problem}",
        hint="delete that file in the store; the next run makes it again",
    )


def storage_options(key: str, array: NDArray[Any]) -> dict[str, Any]:
    """How an array lies in its file: in pieces whose checksum HDF5 verifies whenever it reads.

    Snapshots lie one by one, because the outer loop reads single ones. Small arrays lie in one
    piece, without the index that pieces take; they are verified when the file is opened.
    """
    if array.ndim == 0 or array.nbytes <= SMALL_BYTES:
        return {}
    return {"fletcher32": True, "chunks": (1, *array.shape[1:]) if key == "theta" else True}


SMALL_BYTES = 100_000


def check_small_parts(file: h5py.File, path: Path) -> None:
    """Verify what is too small to have checksums of its own in pieces: scalars and short rows."""
    for key in file:
        part = file[key]
        if part.nbytes <= SMALL_BYTES and checksum(np.asarray(part[()])) != read_text_attribute(
            part, "sha256"
        ):
            raise damaged_artifact(path, f"is corrupt in {key}")


def verify_written(written: Path, path: Path) -> None:
    """Read back what was written; a disk that lies is found before the name is given."""
    with h5py.File(written, "r") as file:
        for key in file:
            if checksum(np.asarray(file[key][()])) != read_text_attribute(file[key], "sha256"):
                raise StoreError(
                    f"artifact {path.parent.name}/{path.name} did not come back as it was written",
                    hint="the disk is at fault; use another --store",
                )


def checksum(array: NDArray[Any]) -> str:
    """SHA-256 of the numbers of an array, in little-endian order."""
    ordered = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return hashlib.sha256(ordered.tobytes()).hexdigest()


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A name to write to; what is written there takes the place of `path` when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path)
    beside = path.with_name(f".{path.name}.{HOST}-{os.getpid()}-{uuid.uuid4().hex[:8]}")
    try:
        yield beside
        # Bytes first, name second: a kill in between costs the work, never a lie.
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


HOST = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
"""Tells machines that share a store apart, without naming any."""

LEFTOVER = re.compile(r"\..+\.([0-9a-f]{8})-(\d+)-[0-9a-f]{8}")
LEFTOVER_SECONDS = 3600
"""No single file takes that long to write; for those of other machines, whose processes are not
seen from here."""


def remove_leftovers(path: Path) -> None:
    """Remove what a killed process left beside a name."""
    for left in path.parent.glob(f".{path.name}.*"):
        remove_if_left(left)


def remove_if_left(left: Path) -> bool:
    """Remove a half-written file whose writer is gone; whether it was one."""
    named = LEFTOVER.fullmatch(left.name)
    if named is None:
        return False
    with contextlib.suppress(OSError):
        old = time.time() - left.stat().st_mtime > LEFTOVER_SECONDS
        if old or (named[1] == HOST and not is_alive(int(named[2]))):
            left.unlink()
            return True
    return False


def is_alive(process: int) -> bool:
    """Whether a process of this machine runs."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def write_text(path: Path, text: str) -> None:
    """Write a small text whole or not at all."""
    with atomic_write(path) as beside:
        beside.write_text(text, encoding="utf-8")


def read_json(path: Path) -> Any:
    """A JSON value; None where the file is absent or no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def sha256_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
