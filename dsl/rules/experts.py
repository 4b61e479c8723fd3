"""Rules on experts: those that are asked exist, and what happens to them happens in time.

A rule takes the spec and what is known of the dataset and yields diagnostics.
"""

from collections.abc import Iterator

from ddspec.dsl.diagnostics import Diagnostic
from ddspec.dsl.facts.datasets import DatasetFacts
from ddspec.dsl.spec.experiment import Spec
from ddspec.dsl.spec.synthetic import Correct, Hard, LearnedLabels, Noise, Representative


def experts_there(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """Experts that initialisation or labels ask for are trained."""
    count = spec.experts.count
    init, labels = spec.synthetic.init, spec.synthetic.labels
    if isinstance(init, Representative) and init.expert >= count:
        yield no_such_expert(
            "synthetic.init.expert", f"expert {init.expert} is asked for", count - 1, count
        )
    if isinstance(init, Correct) and init.experts > count:
        yield no_such_expert("synthetic.init.experts", f"{init.experts} are asked", count, count)
    if isinstance(labels, LearnedLabels) and (labels.experts or 0) > count:
        yield no_such_expert(
            "synthetic.labels.experts", f"{labels.experts} are asked", count, count
        )


def imported_are_not_trained(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """How experts from elsewhere were trained is not for this spec to say."""
    if spec.experts.imported is None:
        return
    said = spec.experts.model_dump(exclude_defaults=True)
    for name in said.keys() - {"count", "epochs", "imported"}:
        yield Diagnostic(
            code="imported-and-trained",
            key=f"experts.{name}",
            problem="says how experts are trained, but these were trained elsewhere "
            "(experts.imported)",
            hint="leave it out: what is not known of them is not said; or leave experts.imported "
            "out, and they are trained here",
            involves=("experts.imported",),
        )


def no_such_expert(key: str, asked: str, most: int, count: int) -> Diagnostic:
    """More experts are asked for than there are."""
    return Diagnostic(
        code="no-such-expert",
        key=key,
        problem=f"{asked}, but there are {count} experts, counted from 0",
        hint=f"at most {most} here, or more experts.count",
        involves=("experts.count",),
    )


def labels_know_the_class(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """Soft labels begin at what experts make of the images, which says nothing of noise."""
    labels = spec.synthetic.labels
    if isinstance(spec.synthetic.init, Noise) and not isinstance(labels, Hard):
        yield Diagnostic(
            code="soft-labels-of-noise",
            key="synthetic.labels",
            problem=f'"{labels.name}" labels begin at what experts make of the first images, which '
            "are noise here and of no class",
            hint='an init of real images, or labels = "hard"',
            severity="warning",
            involves=("synthetic.init",),
        )


def clusters_filled(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """Every centre of k-means stands for an image."""
    init, ipc = spec.synthetic.init, spec.synthetic.ipc
    if isinstance(init, Representative) and init.clusters is not None and init.clusters > ipc:
        yield Diagnostic(
            code="more-clusters-than-images",
            key="synthetic.init.clusters",
            problem=f"{init.clusters} clusters per class, but {ipc} images per class: "
            "some centres would get none",
            hint=f"at most {ipc} here; left out, it is {min(ipc, 10)}",
            involves=("synthetic.ipc",),
        )


def unreachable_decay(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """A drop of the experts' rate happens while they train."""
    decay = spec.experts.lr_decay
    if decay is not None and decay.epoch >= spec.experts.epochs:
        yield Diagnostic(
            code="decay-after-the-end",
            key="experts.lr_decay",
            problem=f"the rate drops after {decay.epoch} epochs, but experts stop at "
            f"epoch {spec.experts.epochs}",
            hint=f"an epoch below {spec.experts.epochs}, or remove the key",
            severity="warning",
            involves=("experts.epochs",),
        )


def loss_reaches_one(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """The weight of the clipped loss becomes 1 while experts train."""
    clipped, epochs = spec.experts.smoothing.clipped_loss, spec.experts.epochs
    if clipped is not None and clipped.epochs >= epochs:
        yield Diagnostic(
            code="clipped-to-the-end",
            key="experts.smoothing.clipped_loss",
            problem=f"the loss has its full weight from epoch {clipped.epochs} on, but experts "
            f"stop at epoch {epochs}",
            hint=f"epochs below {epochs}",
            severity="warning",
            involves=("experts.epochs",),
        )
