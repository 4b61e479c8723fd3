"""The extensions that are installed: their declarations, versions, and the hash of their files."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.machinery import PathFinder
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import get_args

from ddspec.dsl.diagnostics import MachineError
from ddspec.dsl.digest import digest
from ddspec.dsl.extensions.declaration import ARGUMENTS, Extension, Part, PartKind
from ddspec.dsl.spec.extension import ExtensionPart
from ddspec.dsl.spec.matching import ClassMatching
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
        raise MachineError(
            f"no package that is installed here adds {owner}/... to the language",
            hint=f"install the package of {owner}; installed owners: {owners_text()}",
        )
    if len(points) > 1 or owner in get_args(PackageName):
        packages = ", ".join(package_of(point) for point in points)
        raise MachineError(
            f"the owner {owner} belongs to more than one package: {packages}",
            hint="uninstall all but one",
        )
    (point,) = points
    return InstalledExtension(
        owner=owner,
        package=package_of(point),
        version=point.dist.version if point.dist else "",
        code=hash_of_files(point),
        declaration=declaration_of(point),
    )


def owners_text() -> str:
    """Return the owners of all installed extensions."""
    return ", ".join(sorted({point.name for point in entry_points(group=GROUP)})) or "none"


def package_of(point: EntryPoint) -> str:
    """Return the name of the package that has an entry point."""
    return point.dist.name if point.dist else point.module


def declaration_of(point: EntryPoint) -> Extension:
    """Return what an entry point declares. Raises MachineError if it is at fault."""
    try:
        declared = point.load()
    except Exception as error:  # Whatever the package raises when it is imported.
        raise faulty(point, f"{type(error).__name__}: {error}") from error
    if not isinstance(declared, Extension):
        raise faulty(point, f"{point.value} is not a ddspec.extensions.Extension")
    top = point.module.partition(".")[0]
    for kind in get_args(PartKind):
        for name, part in declared.parts(kind).items():
            module, _, function = part.code.partition(":")
            if module.partition(".")[0] != top or not function.isidentifier():
                raise faulty(point, f"the code of {name} is not a module:function of {top}")
            if kind == "datasets" and part.keys.model_fields:
                raise faulty(point, f"{name} is a dataset and has keys, which no dataset has")
            for key in {*RESERVED, *ARGUMENTS[kind]} & {*part.keys.model_fields}:
                raise faulty(point, f"{name} has a key with the reserved name {key}")
    return declared


def faulty(point: EntryPoint, problem: str) -> MachineError:
    """Return the error of a declaration that cannot be used."""
    return MachineError(
        f"the extension {point.name} of {package_of(point)} cannot be used: {problem}",
        hint="report this to its authors, or uninstall it",
    )


def hash_of_files(point: EntryPoint) -> str:
    """Return the hash of every file of a package, or of its one module, by relative path."""
    top = point.module.partition(".")[0]
    spec = PathFinder.find_spec(top)
    folders = [Path(folder) for folder in (spec and spec.submodule_search_locations) or ()]
    if spec is None or not (folders or spec.origin):
        raise faulty(point, f"the module {top} was not found")
    files = {
        path.relative_to(folder).as_posix(): path for folder in folders for path in files_of(folder)
    }
    if not folders:
        files = {Path(str(spec.origin)).name: Path(str(spec.origin))}
    return digest(
        {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
    )


def files_of(folder: Path) -> Iterator[Path]:
    """Yield every file of a package but compiled copies of its modules."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not CACHES & {*path.parts}:
            yield path


def check_identity(part: ExtensionPart, extension: InstalledExtension) -> None:
    """Raise MachineError if a document means other code than that which is installed.

    Absent fields mean the installed one.
    """
    if part.version and part.version != extension.version:
        problem = f"version {extension.version} of {extension.package} is installed"
        raise MachineError(
            f"{part.part} of version {part.version} is asked for, but {problem}",
            hint=f"pip install {extension.package}=={part.version}",
        )
    if part.code and part.code != extension.code:
        raise MachineError(
            f"{part.part} means code with the hash {part.code[:8]}, but {extension.package} "
            f"{extension.version} is installed with {extension.code[:8]}",
            hint="install the same code, or remove `code` and `version` to use the installed one",
        )
