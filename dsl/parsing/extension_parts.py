"""The parts of installed extensions that a spec names: keys are checked, identities filled in."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ddspec.dsl.diagnostics import Diagnostic, MachineError
from ddspec.dsl.extensions.declaration import Part, PartKind
from ddspec.dsl.extensions.installed import check_identity, installed_extension
from ddspec.dsl.key_path import dotted
from ddspec.dsl.keys.extension import (
    ExtensionLoss,
    ExtensionNetwork,
    ExtensionPart,
    ExtensionReader,
)
from ddspec.dsl.parsing.validation_errors import ErrorKind, diagnose
from ddspec.dsl.spec.catalogue import keys_of_model
from ddspec.dsl.spec.experiment import Spec
from ddspec.dsl.spec.network import network_of
from ddspec.dsl.spec.objectives.classes import ExtensionMatching
from ddspec.dsl.spec.objectives.trajectory import TrajectoryMatching

AnyPart = TypeVar("AnyPart", bound=ExtensionPart)


@dataclass(frozen=True)
class NamedPart:
    """A part of an extension in a spec."""

    kind: PartKind
    table: str
    """Path of its table in the spec."""
    tag: str
    """Key of that table that names the part."""
    part: ExtensionPart


def named_parts(spec: Spec) -> Iterator[NamedPart]:
    """Yield the parts of extensions that have a table in a spec."""
    if spec.dataset.reader is not None:
        yield NamedPart("datasets", "dataset", "name", spec.dataset.reader)
    if isinstance(spec.network, ExtensionNetwork):
        yield NamedPart("networks", "network", "name", spec.network)
    if isinstance(spec.matching, ExtensionMatching):
        yield NamedPart("objectives", "matching", "objective", spec.matching)
    loss = spec.matching.loss if isinstance(spec.matching, TrajectoryMatching) else None
    if isinstance(loss, ExtensionLoss):
        yield NamedPart("losses", "matching.loss", "name", loss)


def with_installed_parts(spec: Spec) -> tuple[Spec, list[Diagnostic]]:
    """Return a spec whose parts of extensions have all keys and their identity, and the findings.

    A part with a finding is left as it is.
    """
    findings: list[Diagnostic] = []
    filled: dict[str, ExtensionPart] = {}
    for named in named_parts(spec):
        try:
            declared = declared_part(named.kind, named.part)
            filled[named.table] = filled_part(named.part, declared)
        except MachineError as error:
            key = f"{named.table}.{named.tag}"
            findings.append(Diagnostic("extension-missing", key, str(error), error.hint))
        except ValidationError as error:
            findings += [key_finding(detail, named, declared) for detail in error.errors()]
    for index, name in enumerate(spec.evaluation.networks, start=1):
        judge = network_of(name, spec.network)
        if isinstance(judge, ExtensionNetwork) and judge is not spec.network:
            try:
                filled_part(judge, declared_part("networks", judge))
            except MachineError as error:
                key = f"evaluation.networks[{index}]"
                findings.append(Diagnostic("extension-missing", key, str(error), error.hint))
            except ValidationError:
                key, problem = f"evaluation.networks[{index}]", f"{name} has keys without a default"
                hint = "name it in [network] with its keys, or choose another network"
                findings.append(Diagnostic("missing-key", key, problem, hint))
    return with_parts(spec, filled), findings


def installed_network(network: ExtensionNetwork) -> ExtensionNetwork:
    """Return a network with all keys and its identity. Raises MachineError if it is missing."""
    return filled_part(network, declared_part("networks", network))


def declared_part(kind: PartKind, part: ExtensionPart) -> Part:
    """Return how a part is declared. Raises MachineError if it is not, or another is meant."""
    extension = installed_extension(part.owner)
    declared = extension.part(kind, part.part)
    check_identity(part.part, part.version, part.code, extension)
    return declared


def filled_part(part: AnyPart, declared: Part) -> AnyPart:
    """Return a part with the values of all its keys. Raises pydantic's ValidationError."""
    values = declared.keys.model_validate(part.keys).model_dump(mode="json")
    extension = installed_extension(part.owner)
    own = part.model_dump(include=set(type(part).model_fields))
    identity = {"version": extension.version, "code": extension.code}
    return type(part).model_validate({**own, **values, **identity})


def with_parts(spec: Spec, filled: dict[str, ExtensionPart]) -> Spec:
    """Return the spec with these parts in place of its own."""
    for table, part in filled.items():
        if table == "matching.loss":
            matching = spec.matching.model_copy(update={"loss": part})
            spec = spec.model_copy(update={"matching": matching})
        elif isinstance(part, ExtensionReader):
            identity = {"version": part.version, "code": part.code}
            spec = spec.model_copy(update={table: spec.dataset.model_copy(update=identity)})
        else:
            spec = spec.model_copy(update={table: part})
    return spec


def key_finding(detail: ErrorDetails, named: NamedPart, declared: Part) -> Diagnostic:
    """Return the diagnostic of one fault in the keys of a part."""
    path = (*named.table.split("."), *map(str, detail["loc"]))
    if detail["type"] == ErrorKind.UNKNOWN_KEY:
        keys = list(declared.keys.model_fields)
        return unknown_key(dotted(path), path[-1], named.part.part, keys)
    known = {key.path: key for key in keys_of_model(declared.keys, named.table)}
    return diagnose(detail, path, known.get(dotted(path)))


def unknown_key(key: str, name: str, part: str, keys: list[str]) -> Diagnostic:
    """Return the diagnostic of a key that a part does not declare."""
    near = difflib.get_close_matches(name, keys, n=1, cutoff=0.6)
    suggested = f"did you mean `{near[0]}`? " if near else ""
    listed = ", ".join(f"`{known}`" for known in keys) or "none"
    return Diagnostic(
        "unknown-key", key, f"{part} has no key `{name}`", hint=f"{suggested}its keys: {listed}"
    )
