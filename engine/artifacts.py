"""What the kinds of artifacts hold, and how much of each is there. Needs no torch.

| kind | named by | holds |
|---|---|---|
| dataset | fingerprint of the images | bytes of both splits, labels |
| expert | recipe, index | `theta`, a row per epoch from the initialisation on; velocity; the log |
| trajectory | recipe, epochs, index | `theta`, two rows; the log |
| synthetic | distillation, iteration | images, labels, student_lr, both velocities, the series |
| evaluation | settings, set | test accuracy of each network |
| unfinished | what it will become | where an expert or a distillation stands between those |
"""

from ddspec.dsl.digest import Preimage, digest
from ddspec.dsl.plan import DistillStep
from ddspec.engine.store import Store

LOG = ("train_loss", "train_accuracy", "test_accuracy", "step_length")
"""Of a trajectory, a row per epoch."""

SERIES = ("matching_loss", "student_lr", "gradient_norm", "start_epoch", "expert")
"""Of a distillation, a number per iteration; stored under these names after `series_`."""


def image_preimage(fingerprint: str) -> Preimage:
    """Images are named by their content, whatever normalisation a spec asks for."""
    return {"images": fingerprint}


def image_digest(fingerprint: str) -> str:
    """Name of the artifact that holds the images of that fingerprint."""
    return digest(image_preimage(fingerprint))


def expert_epochs(store: Store, name: str) -> int:
    """Epochs of an expert in the store; -1 where there is none."""
    if not store.has("expert", name):
        return -1
    with store.open("expert", name) as file:
        return int(file["theta"].shape[0]) - 1


def unfinished(step: DistillStep) -> Preimage:
    """What names the state of a distillation between kept iterations."""
    return {**step.preimage, "unfinished": True}


def accuracies(store: Store, name: str) -> tuple[float, ...]:
    """Test accuracy of each network of an evaluation, as far as it is there."""
    if not store.has("evaluation", name):
        return ()
    with store.open("evaluation", name) as file:
        return tuple(float(value) for value in file["values"][()])


def evaluation_rate(store: Store, name: str) -> float:
    """Learning rate that the networks of an evaluation were trained with."""
    with store.open("evaluation", name) as file:
        return float(file.attrs["student_lr"])
