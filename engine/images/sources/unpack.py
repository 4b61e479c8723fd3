"""Tar archives of image files, unpacked beside themselves.

Unlike those of a zip file, the members of a compressed tar archive cannot be read one by one. The
folder appears under its name when all of it is unpacked, so that no half of it is ever read.
"""

import shutil
from pathlib import Path

from ddspec.dsl.atomic_write import new_folder_beside
from ddspec.dsl.diagnostics import DataError
from ddspec.dsl.terminal_text import escape_text
from ddspec.engine.images.tar_files import open_tar

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
MAX_MEMBERS = 5_000_000
KEPT_FREE = 10**9
"""Bytes that unpacking leaves free on the disk."""


def tar_archive(folder: Path, name: str) -> Path | None:
    """Return the tar archive of a dataset in a folder; None if there is none."""
    paths = (folder / f"{name}{suffix}" for suffix in TAR_SUFFIXES)
    return next((path for path in paths if path.is_file()), None)


def unpack(archive: Path, target: Path) -> None:
    """Unpack the folders and regular files of a tar archive to a new folder.

    Raises DataError if the archive is damaged, leads out of its folder, or is larger than the
    disk; the folder is then not made. What a killed process had unpacked is removed.
    """
    label = escape_text(archive.name)
    try:
        temporary = new_folder_beside(target)
    except OSError as error:
        raise DataError(
            f"{label} cannot be unpacked: {error.strerror or error}",
            hint=f"unpack it to {escape_text(target.name)}/ where you may write",
        ) from error
    try:
        unpack_members(archive, temporary, label)
        temporary.chmod(0o755)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def unpack_members(archive: Path, folder: Path, label: str) -> None:
    """Unpack the folders and regular files of a tar archive into a folder."""
    left = shutil.disk_usage(folder).free - KEPT_FREE
    with open_tar(archive, "unpacked") as members:
        for number, member in enumerate(members):
            if not (member.isreg() or member.isdir()):
                continue
            left -= member.size
            if left < 0 or number >= MAX_MEMBERS:
                raise DataError(
                    f"{label} is too large to be unpacked: at most {MAX_MEMBERS:,} files "
                    f"that leave {KEPT_FREE / 1e9:.0f} GB of the disk free are",
                    hint="make room, or unpack it on another disk",
                )
            members.extract(member, folder, filter="data")
