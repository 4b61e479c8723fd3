"""The locations of diagnostics: a line of the file, or the option that set a key."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ddspec.dsl.diagnostics import Diagnostic
from ddspec.dsl.key_path import KeyPath
from ddspec.dsl.parsing.source import Source


@dataclass(frozen=True)
class Override:
    """A key that the command line or a sweep sets."""

    path: KeyPath
    option: str
    """The option as the user wrote it, or the option with the same effect."""
    value_path: KeyPath | None = None
    """Path of the value within `[sweep]` of the file, if a sweep sets the key."""


def locate(
    diagnostic: Diagnostic,
    path: KeyPath,
    source: Source,
    overrides: Sequence[Override],
    at_key: bool,
) -> Diagnostic:
    """Return the diagnostic with its path and its location.

    The location is the option that set the key, or else the key or value in the file.
    """
    diagnostic = replace(diagnostic, path=path)
    override = next(overrides_touching(path, overrides), None)
    if override is not None and override.value_path is None:
        return replace(diagnostic, file=override.option)
    if override is not None and override.value_path is not None:
        path = override.value_path
        if at_key and isinstance(path[-1], int):
            path = path[:-1]
    location = source.nearest_location(path)
    if location is None:
        return replace(diagnostic, file=source.name)
    span = location.key if at_key or path not in source.locations else location.value
    return replace(diagnostic, file=source.name, span=span, line_text=source.line(span.line))


def overrides_touching(path: KeyPath, overrides: Sequence[Override]) -> Iterator[Override]:
    """Yield the overrides of the path or of a path above or below it, the last one first."""
    for override in reversed(overrides):
        shared = min(len(path), len(override.path))
        if shared and path[:shared] == override.path[:shared]:
            yield override
