"""The tables [evaluation] and [[expect]]: how a synthetic set is judged, and against what."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, model_validator

from ddspec.dsl.document import Document
from ddspec.dsl.keys.declare import DC, DD_RANKING, DDSPEC, MOST, MTT, Tuple, key
from ddspec.dsl.spec.network import JUDGE_WORDS, JudgeName
from ddspec.dsl.terms import (
    AugmentationFamily,
    Baseline,
    Choice,
    Protocol,
    PublishedOver,
)

LearningRate = Annotated[float, Field(gt=0, le=1e6)]


DD_RANKING_RATES = (0.001, 0.005, 0.01, 0.05, 0.1)
"""Learning rates that DD-Ranking's code tries for a set without one."""

PROTOCOL_VALUES: Mapping[Protocol, Mapping[str, Any]] = {
    "mtt": {},
    "ast": {},
    "datm": {"epochs": 1001, "batch_size": 128},
    "dc": {"epochs": 301, "repeats": 20, "lr": 0.01, "augmentation": ()},
    "dd_ranking": {"lr_search": DD_RANKING_RATES},
    "rat_bptt": {"epochs": 3000, "repeats": 8, "lr": 0.001},
    "frepo": {"epochs": 1000, "batch_size": 500, "lr": 3e-4},
}
"""Values of a protocol that differ from the defaults of [evaluation], by key.

They are those of the public code: DC trains 300 epochs and one more without augmentation (its
evaluation of MNIST draws crops, scales and rotations, which are not built here), DATM 1000 and one
more. DD-Ranking searches a learning rate only for sets that come without one.
"""


def with_protocol_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of [evaluation] with those of its protocol where they are absent.

    A learning rate that is given is not searched for, and the other way round.
    """
    protocol_values = dict(PROTOCOL_VALUES.get(values.get("protocol", "mtt"), {}))
    if values.get("lr") is not None:
        protocol_values.pop("lr_search", None)
    if values.get("lr_search") is not None:
        protocol_values.pop("lr", None)
    return {**protocol_values, **values}


class FullData(Document):
    """Networks trained on all real images: an accuracy that no synthetic set should reach."""

    epochs: int = key(200, source=DDSPEC, ge=1, le=100_000)
    """Training epochs, by MTT's protocol: a tenth of the learning rate in the second half."""
    lr: float = key(0.01, source=DDSPEC, gt=0, le=100)
    """Learning rate."""
    repeats: int = key(1, source=DDSPEC, ge=1, le=1000)
    """Number of networks that are trained."""


class Evaluation(Document):
    """Fresh networks, trained on the synthetic set and tested on the real test set."""

    protocol: Protocol = key("mtt", source=MTT)
    """How the networks are trained, and what the other keys of this table are if absent.
    `mtt`: SGD at the learned student_lr with momentum 0.9, weight decay 5e-4 and
    augmentation; after half of the epochs the learning rate drops to a tenth; one test
    at the end. `ast` is the protocol of AST's public code: weight decay 1e-3, half of
    the learning rate and momentum 0.8 in the second half, and a test every 20 epochs, of
    which the best counts. `datm` is `mtt` with 1001 epochs and batches of 128. `dc` is
    `mtt` with 301 epochs, learning rate 0.01, 20 networks and no augmentation.
    `dd_ranking` (arXiv:2505.13300) keeps the momentum at the drop, tests every 10 of the
    last epochs, of which the best counts, and searches the learning rate if none is
    given. `rat_bptt` trains 3000 epochs by Adam at 0.001 and tests after 300, 600, 1000
    and 3000 of them, of which the best counts. `frepo` reduces the squared error to the
    targets of a regression by Adam, whose learning rate rises to 3e-4 in 500 epochs and
    then falls along half a cosine; batches of 500, one test at the end."""
    networks: Annotated[tuple[JudgeName, ...], Tuple] = key(
        ("convnet",), source=MTT, min_length=1, pattern_words=JUDGE_WORDS
    )
    """Networks to train. The one that [network] names has the settings of [network].
    `convnet_d4` and `convnet_w256` are ConvNets of another depth or width. Classifiers of
    torchvision and timm (the latter with the extra ddspec[timm]) are named with their
    library, as torchvision/resnet18; they begin untrained and are fitted to small images,
    as the report says."""
    repeats: int = key(5, source=MTT, ge=1, le=10_000)
    """Fresh networks of each kind in every evaluation."""
    every: int = key(100, source=MTT, ge=1, le=MOST)
    """Iterations between evaluations; the first and the last set are always evaluated."""
    epochs: int = key(1000, source=MTT, ge=1, le=1_000_000)
    """Training epochs. MTT's code trains for one epoch more than its option says."""
    batch_size: int = key(256, source=MTT, ge=1, le=MOST)
    """Synthetic images per training step."""
    lr: float | None = key(None, source=DC, gt=0, le=1e6)
    """Learning rate of the networks. If absent, the student_lr that was learned with the
    images, which only trajectory matching does."""
    lr_search: Annotated[tuple[LearningRate, ...], Tuple] | None = key(
        None, source=DD_RANKING, min_length=2, max_length=100
    )
    """Learning rates to choose from, in place of `lr`: a network is trained at each, and the
    rate that is best on the images that dataset.validation holds out is used. Each
    synthetic set, and each baseline, gets its own."""
    augmentation: Annotated[tuple[AugmentationFamily, ...], Tuple] | None = key(None, source=DC)
    """Families of augmentation while the networks are trained. If absent, those of
    [augmentation]; an empty list switches it off."""
    choose: Choice = key("last", source=DDSPEC)
    """Which of the evaluated synthetic sets is the result: that of the last iteration
    (`last`), the best on the test set as in the literature (`best_on_test`), or the
    best on the images that dataset.validation holds out (`validation`)."""
    baselines: Annotated[tuple[Baseline, ...], Tuple] | None = key(None, source=DDSPEC)
    """What else the networks are trained on, as rows to compare with: random real images
    (`random_real`), the same with labels by expert 0 (`random_real_expert_labels`), the
    whole training set (`full_data`); the last synthetic set with hard labels
    (`distilled_hard_labels`), it and random real images without augmentation
    (`distilled_plain`, `random_real_plain`), for the scores. If absent, the first two if
    distillation matches experts, else the first alone, which needs no expert."""
    full_data: FullData | None = key(None, source=MTT)
    """How the networks are trained on the whole training set. The table alone asks for
    that baseline; if absent, the baseline has the default values."""

    @model_validator(mode="before")
    @classmethod
    def as_the_protocol_says(cls, values: Any) -> Any:
        """Give absent keys the values of the protocol."""
        is_table = isinstance(values, dict) and isinstance(values.get("protocol", ""), str)
        return with_protocol_values(values) if is_table else values

    @property
    def has_lr(self) -> bool:
        """Whether the learning rate does not come with the synthetic set."""
        return self.lr is not None or self.lr_search is not None


class Expectation(Document):
    """An accuracy that a source reports for this experiment; the report compares with it."""

    network: JudgeName = key("convnet", source=DDSPEC, pattern_words=JUDGE_WORDS)
    """Evaluation network that it was measured with."""
    accuracy: float = key(source=DDSPEC, ge=0, le=100)
    """Test accuracy in percent."""
    std: float | None = key(None, source=DDSPEC, ge=0, le=100)
    """Standard deviation over networks, in percentage points (population, as in the field)."""
    n: int | None = key(None, source=DDSPEC, ge=1, le=MOST)
    """Number of networks that were averaged."""
    n_source: str | None = key(None, source=DDSPEC, min_length=1, max_length=500)
    """Where that number is stated, if not in `source`: papers often print none, and the
    public code's protocol gives it."""
    choose: Choice = key("best_on_test", source=DDSPEC)
    """Which of its synthetic sets the source reports; the words are those of [evaluation]."""
    over: PublishedOver = key("run", source=DDSPEC)
    """What the source averages over: the networks of one synthetic set (`run`), or those
    of several sets, made with other seeds (`sweep`). The latter is compared with the
    runs of a sweep over `seed`, all networks together."""
    source: str = key(source=DDSPEC, min_length=1, max_length=500)
    """Where the number is published: paper and table."""
