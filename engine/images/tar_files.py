"""Tar archives, compressed or not, read from their beginning to their end.

Python's library takes a damaged header for the end of the archive, and reads long names of any
size into memory. Both are errors here.
"""

import lzma
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from ddspec.dsl.diagnostics import DataError
from ddspec.dsl.regular_file import open_regular_file
from ddspec.dsl.terminal_text import escape_text, message_of
from ddspec.engine.images.listing import unreadable

MAX_HEADER_BYTES = 2**20
"""Longer names and comments of members are refused."""

HEADER_TYPES = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
"""Types of members that hold the name of the next member, or comments."""


class CheckedMember(tarfile.TarInfo):
    """A member of an archive whose header is checked before anything is read for it."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: Any, errors: str) -> "CheckedMember":
        """Return the member of a header; raise ReadError if it is damaged, cut off or too long.

        The zeros at the end of an archive raise EOFHeaderError, as in Python's library.
        """
        with header_errors_as_read_errors():
            return checked(super().frombuf(buf, encoding, errors))

    @classmethod
    def _frombuf(cls, *arguments: Any, **options: Any) -> "CheckedMember":
        """Do the same where a newer Python reads headers without `frombuf`."""
        with header_errors_as_read_errors():
            return checked(super()._frombuf(*arguments, **options))  # type: ignore[misc]


@contextmanager
def header_errors_as_read_errors() -> Iterator[None]:
    """Raise ReadError for every fault in a header but the regular end, a block of zeros."""
    try:
        yield
    except tarfile.HeaderError as error:
        if type(error).__name__ == "EOFHeaderError":
            raise
        raise tarfile.ReadError(message_of(error)) from error


def checked(member: CheckedMember) -> CheckedMember:
    """Return a member; raise ReadError if its size is impossible, or too long for a header."""
    if member.size < 0:
        raise tarfile.ReadError("a member has a negative size")
    if member.type in HEADER_TYPES and member.size > MAX_HEADER_BYTES:
        raise tarfile.ReadError("a header is too long")
    return member


@contextmanager
def open_tar(
    path: Path, verb: str = "read", mode: Literal["r|*", "r:"] = "r|*"
) -> Iterator[tarfile.TarFile]:
    """Open a tar archive as a stream for the block, which can go through its members once.

    With the mode `r:` it must not be compressed, and the content of members is passed over.
    Raises DataError, which says that the archive cannot be read (`verb`), if it is damaged.
    """
    label = escape_text(path.name)
    try:
        with (
            open_regular_file(path) as descriptor,
            open(descriptor, "rb", closefd=False) as stream,
            tarfile.open(fileobj=stream, mode=mode, tarinfo=CheckedMember) as archive,
        ):
            yield archive
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, ValueError) as error:
        raise damaged(label, verb, error) from error
    except OSError as error:
        if error.errno is None:
            raise damaged(label, verb, error) from error
        if verb == "read":
            raise unreadable(label, error) from error
        raise DataError(f"{label} cannot be {verb}: {error.strerror or error}") from error


def members_of(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the members of an archive, and keep none; raise ReadError if one is impossible."""
    while (member := archive.next()) is not None:
        # A longer header can state another size. Below zero it would lead back for ever.
        if member.size < 0:
            raise tarfile.ReadError("a member has a negative size")
        archive.members.clear()  # type: ignore[attr-defined]
        yield member


def damaged(label: str, verb: str, error: Exception) -> DataError:
    """Return the error for an archive that is damaged or not a tar archive."""
    return DataError(
        f"{label} cannot be {verb} ({message_of(error)})", hint="make or download it again"
    )
