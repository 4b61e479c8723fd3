"""The table [matching], by its objective."""

from typing import Annotated

from pydantic import BeforeValidator, Discriminator, Tag

from ddspec.dsl.keys.declare import by_objective
from ddspec.dsl.keys.extension import EXTENSION, LANGUAGE_ITSELF, kind_of_part
from ddspec.dsl.spec.objectives.classes import (
    DistributionMatching,
    ExtensionMatching,
    FeatureMatching,
    GradientMatching,
)
from ddspec.dsl.spec.objectives.kernel import Kernel
from ddspec.dsl.spec.objectives.performance import Performance
from ddspec.dsl.spec.objectives.trajectory import TrajectoryMatching

Matching = Annotated[
    Annotated[
        Annotated[
            Annotated[
                TrajectoryMatching
                | GradientMatching
                | DistributionMatching
                | FeatureMatching
                | Performance
                | Kernel,
                Discriminator("objective"),
            ],
            Tag(LANGUAGE_ITSELF),
        ]
        | Annotated[ExtensionMatching, Tag(EXTENSION)],
        Discriminator(kind_of_part("objective")),
    ],
    BeforeValidator(by_objective),
]
"""The table, by its `objective`, which specs and plans may leave out: `trajectory`."""
