"""Rules on experts: those requested exist, and their schedules fit their training.

A rule takes the spec and what is known of the dataset, and yields diagnostics.
"""

from collections.abc import Iterator

from ddspec.dsl.diagnostics import Diagnostic
from ddspec.dsl.facts.datasets import DatasetFacts
from ddspec.dsl.spec.experiment import Spec
from ddspec.dsl.spec.synthetic import (
    Correct,
    Hard,
    Imported,
    LearnedLabels,
    Noise,
    ProbabilityLabels,
    Representative,
)


def requested_experts_exist(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """Every expert that initialisation or labels ask for is one of experts.count."""
    count = spec.experts.count
    init, labels = spec.synthetic.init, spec.synthetic.labels
    if isinstance(init, Representative) and init.expert >= count:
        yield Diagnostic(
            code="no-such-expert",
            key="synthetic.init.expert",
            problem=f"expert {init.expert} does not exist: experts.count = {count}, and experts "
            "are counted from 0",
            hint=f"use at most {count - 1}, or set experts.count to at least {init.expert + 1}",
            involves=("experts.count",),
        )
    if isinstance(init, Correct) and init.experts > count:
        yield too_few_experts("synthetic.init.experts", init.experts, count)
    if isinstance(labels, LearnedLabels) and (labels.experts or 0) > count:
        yield too_few_experts("synthetic.labels.experts", labels.experts or 0, count)


def too_few_experts(key: str, requested: int, count: int) -> Diagnostic:
    """Return the diagnostic of a key that asks for more experts than are trained."""
    return Diagnostic(
        code="no-such-expert",
        key=key,
        problem=f"{requested} experts are requested, but experts.count = {count}",
        hint=f"use at most {count}, or set experts.count to at least {requested}",
        involves=("experts.count",),
    )


def imported_experts_not_trained(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """A spec with imported experts sets no key that says how experts are trained."""
    if spec.experts.imported is None:
        return
    for name in spec.experts.model_dump(exclude_defaults=True):
        if name in ("count", "epochs", "imported"):
            continue
        yield Diagnostic(
            code="imported-and-trained",
            key=f"experts.{name}",
            problem="this key says how experts are trained, but experts.imported takes experts "
            "that were trained elsewhere",
            hint="remove this key, or remove experts.imported to train experts here",
            involves=("experts.imported",),
        )


def dropped_images_have_epochs(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """Every share of easy images that is left out has its epoch, and the epochs rise."""
    order = spec.experts.data_order
    if order is None:
        return
    epochs, shares = order.drop_from_epochs, order.drop_shares
    if len(epochs) != len(shares):
        yield Diagnostic(
            code="drop-without-epoch",
            key="experts.data_order.drop_shares",
            problem=f"drop_shares has length {len(shares)}, and drop_from_epochs {len(epochs)}",
            hint="give each share of easy images the epoch from which it is left out",
            involves=("experts.data_order.drop_from_epochs",),
        )
    elif list(epochs) != sorted(epochs):
        yield Diagnostic(
            code="drop-without-epoch",
            key="experts.data_order.drop_from_epochs",
            problem="the epochs from which easy images are left out are not in rising order",
            hint=f"write {sorted(epochs)}, and drop_shares in the same order",
        )
    elif epochs and epochs[0] < order.all_from_epoch:
        yield Diagnostic(
            code="drop-without-epoch",
            key="experts.data_order.drop_from_epochs",
            problem=f"easy images are left out from epoch {epochs[0]} on, before epoch "
            f"{order.all_from_epoch}, the first with all images",
            hint=f"use at least {order.all_from_epoch}, or a smaller all_from_epoch",
            involves=("experts.data_order.all_from_epoch",),
        )


def soft_labels_start_from_real_images(
    spec: Spec, facts: DatasetFacts | None
) -> Iterator[Diagnostic]:
    """Soft labels start from what experts predict for real images, not for noise."""
    labels = spec.synthetic.labels
    if isinstance(spec.synthetic.init, Noise) and isinstance(labels, ProbabilityLabels):
        yield Diagnostic(
            code="soft-labels-of-noise",
            key="synthetic.labels",
            problem=f'"{labels.name}" labels start from the predictions of experts for the initial '
            "images, but these are noise and show no class",
            hint='choose an init of real images, or set labels = "hard"',
            severity="warning",
            involves=("synthetic.init",),
        )


def imported_set_keeps_its_labels(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """An imported set has its own labels, which no rule makes again."""
    labels = spec.synthetic.labels
    if isinstance(spec.synthetic.init, Imported) and not isinstance(labels, Hard):
        yield Diagnostic(
            code="labels-of-imported-set",
            key="synthetic.labels",
            problem=f'the imported set has its own labels, so "{labels.name}" labels would '
            "replace them",
            hint="remove labels: those of the set are used, hard or soft",
            involves=("synthetic.init",),
        )


def clusters_within_ipc(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """Representative initialisation has at most one cluster per image of a class."""
    init, ipc = spec.synthetic.init, spec.synthetic.seen_ipc
    if isinstance(init, Representative) and init.clusters is not None and init.clusters > ipc:
        yield Diagnostic(
            code="more-clusters-than-images",
            key="synthetic.init.clusters",
            problem=f"{init.clusters} clusters per class, but only {ipc} "
            f"{'image' if ipc == 1 else 'images'} per class: some clusters would get none",
            hint=f"use at most {ipc}, or remove the key, whose default is {min(ipc, 10)} here",
            involves=("synthetic.ipc",),
        )


def lr_decay_within_training(spec: Spec, facts: DatasetFacts | None) -> Iterator[Diagnostic]:
    """The learning rate of experts drops before their last epoch."""
    decay, epochs = spec.experts.lr_decay, spec.experts.epochs
    if decay is not None and decay.epoch >= epochs:
        earlier = f"use an epoch below {epochs}, " if epochs > 1 else ""
        yield Diagnostic(
            code="decay-after-the-end",
            key="experts.lr_decay",
            problem=f"the learning rate drops after {decay.epoch} "
            f"{'epoch' if decay.epoch == 1 else 'epochs'}, but experts stop at epoch {epochs}",
            hint=f"{earlier}set experts.epochs to at least {decay.epoch + 1}, or remove the key",
            severity="warning",
            involves=("experts.epochs",),
        )


def clipped_loss_reaches_full_weight(
    spec: Spec, facts: DatasetFacts | None
) -> Iterator[Diagnostic]:
    """The weight of the clipped loss becomes 1 before experts stop."""
    clipped, epochs = spec.experts.smoothing.clipped_loss, spec.experts.epochs
    if clipped is not None and clipped.epochs >= epochs:
        shorter = f"use epochs below {epochs}, or " if epochs > 1 else ""
        yield Diagnostic(
            code="clipped-to-the-end",
            key="experts.smoothing.clipped_loss",
            problem=f"the loss has its full weight from epoch {clipped.epochs} on, but experts "
            f"stop at epoch {epochs}",
            hint=f"{shorter}set experts.epochs to at least {clipped.epochs + 1}",
            severity="warning",
            involves=("experts.epochs",),
        )
