"""The artifact of an evaluation: the accuracies of the networks that were trained on one set.

Its datasets have one entry per network, in the order of their numbers: `values` (percent on the
test set), `finite`, and `validation` if images are held out; the attribute `student_lr` is their
learning rate. Networks that several processes train at once may be done out of order. Those that
others have to come before wait in a part, an unfinished artifact of the same form.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import h5py
import numpy as np

from ddspec.dsl.digest import Preimage, digest
from ddspec.dsl.plan.steps import EvaluateStep, Member, member_preimage
from ddspec.engine.store.provenance import Provenance
from ddspec.engine.store.store import ArtifactKind, Store


@dataclass(frozen=True)
class TrainedNetwork:
    """The accuracies of one network of an evaluation, in percent."""

    accuracy: float
    """On the test set."""
    finite: bool
    """Whether the parameters of the network ended as finite numbers."""
    validation: float | None
    """On held-out images, if there are any."""


@dataclass(frozen=True)
class TrainedNetworks:
    """Networks of one evaluation, how they were made, and their learning rate."""

    networks: tuple[TrainedNetwork, ...] = ()
    student_lr: float = 0.0
    made: Provenance = field(default_factory=Provenance)

    def followed_by(self, others: "TrainedNetworks") -> "TrainedNetworks":
        """Return these networks and the others, which were trained at the same rate."""
        networks = (*self.networks, *others.networks)
        return TrainedNetworks(networks, others.student_lr, self.made.joined(others.made))


def part_preimage(step: EvaluateStep, number: int, first: int) -> Preimage:
    """Return the preimage of the part that begins with network `first`."""
    return {**member_preimage(step.preimage, number), "from_network": first}


def lr_search_preimage(step: EvaluateStep, number: int) -> Preimage:
    """Return the preimage of the networks that are trained to choose a learning rate."""
    return {**member_preimage(step.preimage, number), "part": "lr_search"}


def part_digest(step: EvaluateStep, member: Member, first: int) -> str:
    """Return the digest of the part that begins with network `first`."""
    return digest(part_preimage(step, member.number, first))


def read_networks(
    store: Store, name: str, kind: ArtifactKind = "evaluation"
) -> tuple[TrainedNetwork, ...]:
    """Return every stored network of an evaluation or of a part; none if it is not stored."""
    return read_evaluation(store, name, kind).networks


def read_evaluation(store: Store, name: str, kind: ArtifactKind = "evaluation") -> TrainedNetworks:
    """Return an evaluation or a part; one without networks if it is not stored."""
    if not store.has(kind, name):
        return TrainedNetworks()
    with store.open(kind, name) as file:
        student_lr = float(file.attrs["student_lr"])
        return TrainedNetworks(tuple(networks_in(file)), student_lr, Provenance.of(file))


def networks_in(file: h5py.File) -> Iterator[TrainedNetwork]:
    """Yield the networks in an open artifact."""
    held_out = file["validation"][()] if "validation" in file else None
    for index, (value, finite) in enumerate(
        zip(file["values"][()], file["finite"][()], strict=True)
    ):
        validation = None if held_out is None else float(held_out[index])
        yield TrainedNetwork(float(value), bool(finite), validation)


def put_evaluation(
    store: Store, kind: ArtifactKind, preimage: Preimage, trained: TrainedNetworks
) -> None:
    """Write an evaluation or a part."""
    networks = trained.networks
    arrays = {
        "values": np.array([network.accuracy for network in networks]),
        "finite": np.array([network.finite for network in networks]),
    }
    held_out = [network.validation for network in networks if network.validation is not None]
    if held_out:
        arrays["validation"] = np.array(held_out)
    store.put(kind, preimage, arrays, trained.made, {"student_lr": trained.student_lr})
