"""Files that each hold many images of a split: train-00000-of-00002.parquet, train-000000.tar."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ddspec.dsl.diagnostics import DataError
from ddspec.dsl.regular_file import check_regular_file
from ddspec.dsl.terminal_text import escape_text
from ddspec.engine.images.image_formats import is_hidden, suffix_of
from ddspec.engine.images.layouts import list_dataset_folder, role_in, role_of
from ddspec.engine.images.listing import states_of, status_changed_ns, unreadable

DEPTH = 3
"""Shards are looked for in a dataset's folder, and in folders up to this depth in it."""

NUMBER = re.compile(r"(?P<name>.*?)[-_.]?(?P<number>\d+)(?:-of-(?P<count>\d+))?")
"""Form of the name of a shard without its suffix: a name, its number, and how many there are."""


@dataclass(frozen=True)
class Shard:
    """A file with many images of one split."""

    path: Path
    label: str
    """Its path below the dataset's folder."""
    role: int | None
    """The split that its name, or its folder's, means; None if none does."""
    size: int


def shards_in(base: Path, suffix: str) -> list[Shard]:
    """Return the files of a suffix in a folder, by split and in the order of their numbers.

    Raises DataError if one is not a regular file, or if they belong to several datasets.
    """
    shards, folders = [], set()
    for path in paths_below(base, suffix):
        parts = path.relative_to(base).parts
        label = escape_text("/".join(parts))
        try:
            size = check_regular_file(path)
        except OSError as error:
            raise unreadable(label, error) from error
        roles = [role for part in parts[:-1] if (role := role_of(part)) is not None]
        role = role_in(path.stem)
        shards.append(Shard(path, label, roles[-1] if role is None and roles else role, size))
        folders.add("/".join(part for part in parts[:-1] if role_of(part) is None))
    if len(folders) > 1:
        named = ", ".join(f"{escape_text(folder)}/" if folder else "itself" for folder in folders)
        raise DataError(
            f"{escape_text(base.name)}/ has {suffix} files in several folders: {named}",
            hint="keep the folder of one dataset, or name its folder by dataset.root",
        )
    return sorted(shards, key=lambda shard: (str(shard.role), natural_order(shard.label)))


def paths_below(base: Path, suffix: str) -> Iterator[Path]:
    """Yield the files of a suffix in a folder, and in folders in it, without hidden ones."""
    for depth in range(DEPTH + 1):
        for path in base.glob("*/" * depth + f"*{suffix}"):
            if not is_hidden(path.relative_to(base).parts) and not path.is_dir():
                yield path


def natural_order(label: str) -> list[tuple[str, int]]:
    """Return a key by which names are sorted, numbers in them by their size."""
    pieces = re.findall(r"([^\d]*)(\d*)", label)
    return [(text, int(digits or -1)) for text, digits in pieces]


def check_complete(shards: Sequence[Shard]) -> tuple[str, ...]:
    """Return notes on numbers that are missing among shards.

    Raises DataError if their names say how many there are, and one is missing.
    """
    numbers: dict[tuple[str, str | None], list[int]] = defaultdict(list)
    for shard in shards:
        match = NUMBER.fullmatch(shard.label.rpartition(".")[0])
        if match:
            numbers[match["name"], match["count"]].append(int(match["number"]))
    notes = []
    for (name, count), present in numbers.items():
        if count is not None:
            lacking = sorted({*range(int(count[:6]))} - {*present})
            if lacking:
                raise DataError(
                    f"{escape_text(name)} has {len(present):,} of {int(count):,} files; number "
                    f"{lacking[0]} is missing",
                    hint="download the files that are missing",
                )
        gaps = sum(after - before - 1 for before, after in pairwise(sorted(present)))
        if gaps > 0:
            notes.append(f"{gaps:,} number{'s' if gaps > 1 else ''} of {name} missing in between")
    several = {name for name, count in numbers if count is not None}
    for name in several:
        counts = sorted(str(count) for each, count in numbers if each == name)
        if len(counts) > 1:
            raise DataError(
                f"{escape_text(name)} has files of several versions: of {' and of '.join(counts)}",
                hint="keep the files of one version",
            )
    return tuple(notes)


def files_beside(base: Path, suffix: str, used: Sequence[str] = ()) -> tuple[str, ...]:
    """Return a note on the files in a folder that are neither shards nor `used`; none if none."""
    listing = list_dataset_folder(base, None)
    counts = Counter(listing.passed_over)
    counts["image files"] = len(listing.files)
    del counts[suffix]
    for name in used:
        counts[suffix_of(name)] -= 1
    others = [f"{count:,} {reason}" for reason, count in sorted(counts.items()) if count > 0]
    return (f"beside them, passed over: {', '.join(others)}",) if others else ()


def label_of_shards(name: str, shards: Sequence[Shard], kind: str) -> str:
    """Return the label of a dataset in shards: its folder, and the number of files."""
    return f"{escape_text(name)}/ ({len(shards):,} {kind} file{'s' if len(shards) > 1 else ''})"


def states_of_shards(shards: Sequence[Shard]) -> tuple[list[str], int]:
    """Return texts that change when a shard does, and when the last of them changed (ns)."""
    states, changed_ns = [], 0
    for shard in shards:
        (state,), _ = states_of([shard.path])
        states.append(f"{shard.label} {state}")
        changed_ns = max(changed_ns, status_changed_ns(shard.path.stat()))
    return states, changed_ns
