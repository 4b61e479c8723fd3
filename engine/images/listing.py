"""All files of a dataset on disk: in a folder with everything below it, or in a zip file.

Files that cannot be images are counted by the reason, so that nothing is left out in silence.
"""

import contextlib
import os
import stat
import struct
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ddspec.dsl.diagnostics import DataError
from ddspec.dsl.regular_file import check_regular_file, open_regular_file, read_regular_file
from ddspec.dsl.terminal_text import escape_text, message_of
from ddspec.engine.images.image_formats import (
    HEAD_BYTES,
    HIDDEN,
    WITHOUT_SUFFIX,
    begins_like_image,
    is_hidden,
    reason_to_pass_over,
    suffix_of,
)

TABLE_SUFFIXES = (".csv", ".tsv")
"""Suffixes of files that may be tables of labels."""

MAX_TABLE_BYTES = 200_000_000
"""Larger tables are refused."""

METHODS = {0: "no compression", 8: "Deflate", 12: "bzip2", 14: "LZMA"}
"""Compression methods of zip files that Python's library reads."""


@dataclass(frozen=True)
class FoundFile:
    """A file that may be an image: where it lies, and how to read it."""

    parts: tuple[str, ...]
    """Its path below the dataset's folder, or in the zip file."""
    label: str
    """The file's path in messages."""
    size: int
    """Size in bytes."""
    read: Callable[[], bytes]


@dataclass(frozen=True)
class Listing:
    """The files of a folder or zip file."""

    files: Sequence[FoundFile] = ()
    """Files that may be images, sorted by path."""
    passed_over: Counter[str] = field(default_factory=Counter)
    """Number of all other files, by the reason."""
    state: Sequence[str] = ()
    """Texts that change when one of `files`, or the zip file, does."""
    changed_ns: int = 0
    """When the last of these files changed, in nanoseconds since 1970."""
    label: str = ""
    """The folder's or zip file's name."""
    tables: Sequence[FoundFile] = ()
    """Files in `passed_over` that may be tables of labels, sorted by path."""


def list_folder(base: Path, is_left_out: Callable[[tuple[str, ...]], bool]) -> Listing:
    """Return the files below a folder; of folders for which `is_left_out`, none at all.

    Links are followed, unless they lead back to a folder above. Raises DataError if the link of
    an image leads nowhere, or a file cannot be read.
    """
    files, tables, passed_over, state, changed_ns = [], [], Counter[str](), [], 0
    for parts, path, reason in walk(base, is_left_out):
        reason = reason or reason_to_pass_over(parts)
        if reason in TABLE_SUFFIXES:
            tables.append(table_file(path, parts))
        status = image_status(parts, path) if reason is None else reason
        if isinstance(status, str):
            passed_over[status] += 1
        else:
            label = escape_text("/".join(parts))
            files.append(FoundFile(parts, label, status.st_size, partial(read_file, path, label)))
            state.append(f"{'/'.join(parts)} {state_text(status)}")
            changed_ns = max(changed_ns, status_changed_ns(status))
    files.sort(key=lambda file: file.parts)
    tables.sort(key=lambda file: file.parts)
    label = f"{escape_text(base.name)}/"
    return Listing(files, passed_over, sorted(state), changed_ns, label, tables)


def table_file(path: Path, parts: tuple[str, ...]) -> FoundFile:
    """Return a file that may be a table of labels."""
    label = escape_text("/".join(parts))
    return FoundFile(parts, label, 0, partial(read_file, path, label, MAX_TABLE_BYTES))


def walk(
    base: Path, is_left_out: Callable[[tuple[str, ...]], bool]
) -> Iterator[tuple[tuple[str, ...], Path, str | None]]:
    """Yield path parts and path of every file below a folder, and a reason against it, if any."""
    # With each folder go device and inode of the folders that lead to it.
    folders: list[tuple[tuple[str, ...], Path, frozenset[tuple[int, int]]]]
    folders = [((), base, frozenset())]
    while folders:
        parts, folder, above = folders.pop()
        try:
            status = folder.stat()
            items = [(item.name, is_folder(item)) for item in os.scandir(folder)]
        except OSError as error:
            if is_hidden(parts):
                yield parts, folder, HIDDEN
                continue
            raise unreadable(escape_text("/".join(parts)) or folder.name, error) from error
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            yield parts, folder, "links to a folder above"
            continue
        for name, has_files in items:
            below = (*parts, name)
            if not has_files:
                yield below, folder / name, None
            elif not is_left_out(below):
                folders.append((below, folder / name, above | {identity}))


def is_folder(item: "os.DirEntry[str]") -> bool:
    """Return whether a name is a folder or a link to one; a link in a circle is not."""
    try:
        return item.is_dir()
    except OSError:
        return False


def image_status(parts: tuple[str, ...], path: Path) -> os.stat_result | str:
    """Return the status of a file that may be an image, or the reason why it is not.

    Raises DataError if it has the name of an image and the system cannot find or read it.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return "not regular files"
        if not suffix_of(path.name) and not begins_like_image(first_bytes(path)):
            return WITHOUT_SUFFIX
    except OSError as error:
        if path.is_symlink() and not suffix_of(path.name):
            return "broken links"
        raise unreadable(escape_text("/".join(parts)), error) from error
    return status


def state_text(status: os.stat_result) -> str:
    """Return size, times and inode of a file as a text.

    Programs can set the time of a file's content, but not the time of the change of its inode.
    """
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"


def status_changed_ns(status: os.stat_result) -> int:
    """Return when a file or its inode changed last, in nanoseconds since 1970."""
    return max(status.st_mtime_ns, status.st_ctime_ns)


def states_of(paths: Iterable[Path]) -> tuple[list[str], int]:
    """Return texts that change when a file does, and when the last of them changed (ns)."""
    statuses = [(path.name, path.stat()) for path in paths]
    state = [f"{name} {state_text(status)}" for name, status in statuses]
    return state, max((status_changed_ns(status) for _, status in statuses), default=0)


def first_bytes(path: Path) -> bytes:
    """Return the first bytes of a file."""
    with open_regular_file(path) as descriptor:
        return os.read(descriptor, HEAD_BYTES)


def read_file(path: Path, label: str, limit: int = 2**31) -> bytes:
    """Return the content of a file of at most `limit` bytes.

    Raises DataError if it is larger, not a regular file, or the system cannot read it.
    """
    try:
        return read_regular_file(path, limit)
    except OSError as error:
        raise unreadable(label, error) from error


def unreadable(label: str, error: OSError) -> DataError:
    """Return the error for a file that the system cannot read."""
    if isinstance(error, FileNotFoundError):
        return DataError(f"{label} leads nowhere or is gone", hint="repair or remove the link")
    return DataError(f"{label} cannot be read: {error.strerror or error}")


def list_zip(path: Path) -> Listing:
    """Return the files in a zip file.

    Raises DataError if it cannot be read, if an image in it cannot be unpacked, or if two have
    the same name.
    """
    archive = open_zip(path)
    files: dict[tuple[str, ...], FoundFile] = {}
    passed_over, tables = Counter[str](), list[FoundFile]()
    for info in archive.infolist():
        if info.is_dir():
            continue
        parts = member_parts(info)
        label = escape_text(f"{path.name}: {'/'.join(parts)}")
        reason = "with unsafe names" if {"", ".."} & {*parts} else reason_to_pass_over(parts)
        if reason is None:
            check_unpackable(info, label, path.name)
            if not suffix_of(parts[-1]):
                head = read_member(archive, info, label, HEAD_BYTES)
                reason = None if begins_like_image(head) else WITHOUT_SUFFIX
        if reason is not None:
            passed_over[reason] += 1
            if reason in TABLE_SUFFIXES:
                content = partial(read_table_member, archive, info, label, path.name)
                tables.append(FoundFile(parts, label, info.file_size, content))
            continue
        if parts in files:
            raise DataError(f"{label} is in the zip file twice", hint="make the zip file again")
        read = partial(read_member, archive, info, label, -1)
        files[parts] = FoundFile(parts, label, info.file_size, read)
    state, changed_ns = states_of([path])
    in_order = [files[parts] for parts in sorted(files)]
    tables.sort(key=lambda file: file.parts)
    return Listing(in_order, passed_over, state, changed_ns, escape_text(path.name), tables)


def open_zip(path: Path) -> zipfile.ZipFile:
    """Open a zip file; raise DataError if it is not one, or is damaged."""
    try:
        check_regular_file(path)
        return zipfile.ZipFile(path)
    except OSError as error:
        if error.errno is not None:
            raise unreadable(escape_text(path.name), error) from error
        problem = message_of(error)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
        problem = message_of(error)
    raise DataError(
        f"{escape_text(path.name)} is not a readable zip file ({problem})",
        hint="make or download it again, or unpack it",
    )


def member_parts(info: zipfile.ZipInfo) -> tuple[str, ...]:
    """Return the path of a member as parts.

    Some programs separate folders by backslashes, or write UTF-8 without saying so, which is
    then read as letters of the code page 437.
    """
    name = info.filename
    if not info.flag_bits & 0x800:
        with contextlib.suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    if "/" not in name:
        name = name.replace("\\", "/")
    return tuple(name.removeprefix("./").split("/"))


def check_unpackable(info: zipfile.ZipInfo, label: str, archive_name: str) -> None:
    """Raise DataError if a member has a password or is compressed in an unknown way."""
    unpack = f"unpack {escape_text(archive_name)} to a folder and remove it"
    if info.flag_bits & 0x1:
        raise DataError(f"{label} has a password", hint=unpack)
    if info.compress_type not in METHODS:
        name = "Deflate64" if info.compress_type == 9 else f"method {info.compress_type}"
        raise DataError(
            f"{label} is compressed by {name}; {', '.join(METHODS.values())} are read", hint=unpack
        )


def read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, label: str, count: int) -> bytes:
    """Read the first `count` bytes of a member, all of it if -1; raise DataError on damage."""
    try:
        with archive.open(info) as stream:
            return stream.read(count)
    except OSError as error:
        if error.errno is not None:
            raise unreadable(label, error) from error
        problem = message_of(error)
    # The decompressors raise errors of many kinds on damaged bytes.
    except Exception as error:
        problem = message_of(error)
    raise DataError(f"{label} is damaged ({problem})", hint="make or download the zip file again")


def read_table_member(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, label: str, archive_name: str
) -> bytes:
    """Return a member that may be a table; raise DataError if it is too large or damaged."""
    check_unpackable(info, label, archive_name)
    content = read_member(archive, info, label, MAX_TABLE_BYTES + 1)
    if len(content) > MAX_TABLE_BYTES:
        raise DataError(f"{label} has more than the {MAX_TABLE_BYTES:,} bytes that are read")
    return content


def read_zip_member(path: Path, parts: tuple[str, ...], limit: int) -> bytes:
    """Return a member of a zip file of at most `limit` bytes.

    Raises DataError if it is missing, too large, or cannot be unpacked.
    """
    archive, label = open_zip(path), escape_text(f"{path.name}: {'/'.join(parts)}")
    info = next((info for info in archive.infolist() if member_parts(info) == parts), None)
    if info is None:
        raise DataError(f"{label} is missing", hint="make or download the zip file again")
    if info.file_size > limit:
        raise DataError(f"{label} has {info.file_size:,} bytes; at most {limit:,} are read")
    check_unpackable(info, label, path.name)
    return read_member(archive, info, label, -1)
