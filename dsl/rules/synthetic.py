"""Rules on the synthetic set itself: its parts and its labels.

A rule takes the spec and what is known of the dataset, and yields diagnostics.
"""

from collections.abc import Iterator

from ddspec.dsl.diagnostics import Diagnostic
from ddspec.dsl.facts.datasets import DatasetFacts
from ddspec.dsl.spec.experiment import Spec
from ddspec.dsl.spec.objectives.kernel import Kernel
from ddspec.dsl.spec.synthetic import Hard, RegressionLabels


def partition_divides_images(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """Both sides of an image divide into equal parts."""
    factor = spec.synthetic.partition
    if facts is None or (facts.height % factor == 0 and facts.width % factor == 0):
        return
    common = [f for f in range(2, 17) if facts.height % f == 0 and facts.width % f == 0]
    fitting = f"use one of {', '.join(map(str, common))}, or " if common else ""
    yield Diagnostic(
        code="parts-not-equal",
        key="synthetic.partition",
        problem=f"images of {facts.height}x{facts.width} pixels do not divide into "
        f"{factor} x {factor} equal parts",
        hint=f"{fitting}set dataset.resolution to a multiple of {factor}",
        involves=("dataset",),
    )


def partitioned_images_have_classes(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """The small images of a partitioned one share its class."""
    labels, factor = spec.synthetic.labels, spec.synthetic.partition
    if factor > 1 and not isinstance(labels, Hard):
        yield Diagnostic(
            code="soft-labels-of-parts",
            key="synthetic.labels",
            problem=f'"{labels.name}" labels belong to one image each, but synthetic.partition = '
            f"{factor} makes {factor**2} of it",
            hint="remove synthetic.partition"
            if isinstance(labels, RegressionLabels) and isinstance(spec.matching, Kernel)
            else 'set labels = "hard", or remove synthetic.partition',
            involves=("synthetic.partition",),
        )
