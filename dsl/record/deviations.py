"""Deviations of a spec from the papers whose ingredients it uses, and of a run from its spec.

Papers and their public code differ in nearly every ingredient. A key marked as a reading has the
paper's value as its default (`declare.key`); another value is legitimate, but must be reported.
"""

from collections.abc import Iterator

from pydantic import BaseModel

from ddspec.dsl.document import Document
from ddspec.dsl.keys.declare import AST, ATT, FTD, MCT, PAD
from ddspec.dsl.spec.experiment import Spec
from ddspec.dsl.spec.experts import Gsam
from ddspec.dsl.spec.objectives.trajectory import TrajectoryMatching
from ddspec.dsl.spec.trajectory import ConvexTrajectory
from ddspec.dsl.toml_text import default_text


class Deviation(Document):
    """A key whose value is not the paper's."""

    key: str
    value: str
    paper: str
    """The paper's value."""
    source: str
    """The paper."""


class Departure(Document):
    """A setting in which options of the command line depart from a spec of published numbers."""

    key: str
    value: str
    in_spec: str
    """The spec's value, which belongs to the published numbers."""


def deviations(spec: Spec) -> tuple[Deviation, ...]:
    """Return every deviation from a paper, in the order of the language."""
    deviating = list(deviations_in_table(spec, ""))
    if isinstance(spec.matching, TrajectoryMatching) and spec.matching.gradient == "tesla":
        deviating += [
            Deviation(
                key="matching.gradient",
                value=default_text("tesla"),
                paper=default_text("exact"),
                source=source,
            )
            for source in papers_with_exact_gradient(spec, spec.matching)
        ]
    return tuple(deviating)


def papers_with_exact_gradient(spec: Spec, matching: TrajectoryMatching) -> Iterator[str]:
    """Return the papers whose methods differentiate through all steps of the student.

    Only papers behind ingredients of the spec count.
    """
    smoothing = spec.experts.smoothing
    if any(
        (
            matching.balanced_inner_loss,
            matching.intermediate,
            matching.perturbation,
            smoothing.clipped_loss,
            smoothing.gradient_penalty,
        )
    ):
        yield AST
    if isinstance(spec.trajectory, ConvexTrajectory):
        yield MCT
    if isinstance(spec.experts.optimizer, Gsam) or spec.synthetic.images.moving_average:
        yield FTD
    if matching.matched_step == "nearest":
        yield ATT
    if matching.parameters is not None:
        yield PAD


def deviations_in_table(table: BaseModel, above: str) -> Iterator[Deviation]:
    """Yield the deviations of a table and of the tables in it."""
    for name, field in type(table).model_fields.items():
        path, value = f"{above}.{name}" if above else name, getattr(table, name)
        extra = field.json_schema_extra
        if isinstance(value, BaseModel):
            yield from deviations_in_table(value, path)
        elif isinstance(extra, dict) and extra.get("reading") and value != field.default:
            yield Deviation(
                key=path,
                value=default_text(value),
                paper=default_text(field.default),
                source=str(extra["source"]),
            )
