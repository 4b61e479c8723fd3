"""The extensions that are installed: their declarations, versions, and the hash of their files."""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import invalidate_caches
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from ddspec.dsl.diagnostics import MachineError
from ddspec.dsl.digest import digest
from ddspec.dsl.extensions.declaration import ARGUMENTS, Extension, Keys, Part, PartKind
from ddspec.dsl.keys.extension import OWNED, ExtensionPart
from ddspec.dsl.spec.objectives.classes import ClassMatching
from ddspec.dsl.terms import PackageName

GROUP = "ddspec.extensions"
"""The entry-point group."""

CACHES = {"__pycache__"}

RESERVED = {*ClassMatching.model_fields, *ExtensionPart.model_fields, "name"}
"""Names of keys that the tables of parts have already."""


@dataclass(frozen=True)
class InstalledExtension:
    """An extension that is installed here."""

    owner: str
    package: str
    """Name of the distribution, for `pip install`."""
    version: str
    code: str
    """Hash of the files of its top-level package, or of its module."""
    declaration: Extension
    point: EntryPoint
    """Where the declaration was found."""

    def changed(self) -> bool:
        """Return whether its files have changed since it was found."""
        return hash_of_files(self.point) != self.code

    def part(self, kind: PartKind, name: str) -> Part:
        """Return a part by its name with the owner. Raises MachineError if there is none."""
        parts = self.declaration.parts(kind)
        short = name.partition("/")[2]
        if short not in parts:
            listed = ", ".join(f"{self.owner}/{known}" for known in sorted(parts)) or "none"
            raise MachineError(
                f"{self.package} {self.version} has no {name} among its {kind}",
                hint=f"its {kind}: {listed}",
            )
        return parts[short]


@cache
def installed_extension(owner: str) -> InstalledExtension:
    """Return the extension of an owner.

    Raises MachineError if none is installed, if two are, or if its declaration is at fault.
    """
    points = [point for point in entry_points(group=GROUP) if point.name == owner]
    if not points:
        known = ", ".join(owners()) or "none"
        raise MachineError(
            f"no package that is installed here adds {owner}/... to the language",
            hint=f"install the package of {owner}; installed owners: {known}",
        )
    (point, *others) = points
    if others:
        packages = ", ".join(package_of(point) for point in points)
        raise MachineError(
            f"the owner {owner} belongs to more than one package: {packages}",
            hint="uninstall all but one",
        )
    if owner in get_args(PackageName):
        raise faulty(point, f"the owner {owner} is reserved for the library of that name")
    return InstalledExtension(
        owner=owner,
        package=package_of(point),
        version=point.dist.version if point.dist else "",
        code=hash_of_files(point),
        declaration=declaration_of(point),
        point=point,
    )


def owners() -> list[str]:
    """Return the owners of all installed extensions, sorted."""
    return sorted({point.name for point in entry_points(group=GROUP)})


def package_of(point: EntryPoint) -> str:
    """Return the name of the package that has an entry point."""
    return point.dist.name if point.dist else point.module


def declaration_of(point: EntryPoint) -> Extension:
    """Return what an entry point declares. Raises MachineError if it is at fault."""
    try:
        declared = point.load()
    except (Exception, SystemExit) as error:  # Whatever the package raises when it is imported.
        raise faulty(point, f"{type(error).__name__}: {error}") from error
    if not isinstance(declared, Extension):
        raise faulty(point, f"{point.value} is not a ddspec.extensions.Extension")
    for kind in get_args(PartKind):
        parts: object = declared.parts(kind)
        if not isinstance(parts, Mapping):
            raise faulty(point, f"its {kind} are not a mapping of names to parts")
        for name, part in parts.items():
            if problem := problem_of(kind, f"{point.name}/{name}", part, point.module):
                raise faulty(point, f"{name}, one of its {kind}, {problem}")
    return declared


def problem_of(kind: PartKind, name: str, part: object, module: str) -> str:
    """Return what is wrong with a declared part; empty if nothing is."""
    if re.fullmatch(OWNED, name) is None:
        return "has a name that no spec can say: small letters, digits, dots, dashes, underscores"
    if not isinstance(part, Part) or not isinstance(part.code, str):
        return "is not a Part with the name of its code"
    if not isinstance(part.keys, type) or not issubclass(part.keys, Keys):
        return "has keys that are not a class derived from Keys"
    top, (code, _, function) = module.partition(".")[0], part.code.partition(":")
    if code.partition(".")[0] != top or not function.isidentifier():
        return f"has code that is not a module:function of {top}"
    if kind == "datasets" and part.keys.model_fields:
        return "has keys, which no dataset has"
    return next(
        filter(None, (problem_of_key(kind, *item) for item in part.keys.model_fields.items())), ""
    )


def problem_of_key(kind: PartKind, name: str, field: FieldInfo) -> str:
    """Return what is wrong with a declared key; empty if nothing is."""
    if name in {*RESERVED, *ARGUMENTS[kind]}:
        return f"has a key with the reserved name {name}"
    values = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    types: set[object] = {type(value) for value in values} or {field.annotation}
    if not types <= {bool, int, float, str}:
        return f"has the key {name}, whose type is not bool, int, float or str"
    if field.alias is not None:
        return f"has the key {name} with an alias"
    return ""


def faulty(point: EntryPoint, problem: str) -> MachineError:
    """Return the error of a declaration that cannot be used."""
    return MachineError(
        f"the extension {point.name} of {package_of(point)} cannot be used: {problem}",
        hint="report this to its authors, or uninstall it",
    )


def hash_of_files(point: EntryPoint) -> str:
    """Return the hash of every file of a package, or of its one module, by relative path."""
    top = point.module.partition(".")[0]
    invalidate_caches()
    spec = find_spec(top)
    if spec is not None and spec.submodule_search_locations:
        folders = [Path(folder) for folder in spec.submodule_search_locations]
        files = {
            f"{number}/{path.relative_to(folder).as_posix()}": path
            for number, folder in enumerate(folders)
            for path in files_of(folder)
        }
    elif spec is not None and spec.origin:
        files = {Path(spec.origin).name: Path(spec.origin)}
    else:
        raise faulty(point, f"the module {top} was not found")
    return digest(
        {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
    )


def files_of(folder: Path) -> Iterator[Path]:
    """Yield every file of a package but hidden ones and compiled copies of its modules.

    Links to folders are followed, as Python does when it imports, but no folder is entered twice.
    """
    entered: set[str] = set()
    for above, folders, names in os.walk(folder, followlinks=True):
        if (place := os.path.realpath(above)) in entered:
            folders.clear()
            continue
        entered.add(place)
        folders[:] = sorted(name for name in folders if name not in CACHES and name[0] != ".")
        yield from (Path(above) / name for name in sorted(names) if name[0] != ".")


def check_identity(
    name: str, version: str | None, code: str | None, extension: InstalledExtension
) -> None:
    """Raise MachineError if a document means other code than that which is installed.

    None means the installed one.
    """
    if version and version != extension.version:
        problem = f"version {extension.version} of {extension.package} is installed"
        raise MachineError(
            f"{name} of version {version} is asked for, but {problem}",
            hint=f"pip install {extension.package}=={version}",
        )
    if code and code != extension.code:
        raise MachineError(
            f"{name} means code with the hash {code[:8]}, but {extension.package} "
            f"{extension.version} is installed with {extension.code[:8]}",
            hint="install the same code, or remove `code` and `version` to use the installed one",
        )
