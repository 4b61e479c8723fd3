"""The parts that mylab adds to the language. Their code is in `parts.py`, which imports torch."""

from ddspec.extensions import Extension, Keys, Part, key


class Lp(Keys):
    """The keys of the loss."""

    p: float = key(1.0, source="mylab", ge=1, le=8)
    """Exponent of the differences."""


class Moments(Keys):
    """The keys of the objective."""

    variance: float = key(1.0, source="mylab", ge=0, le=1e6)
    """Weight of the variances beside the means."""


class Wide(Keys):
    """The keys of the network."""

    filters: int = key(64, source="mylab", ge=1, le=4096)
    """Channels of its one convolution."""


EXTENSION = Extension(
    losses={
        "lp": Part(
            "mylab_parts.parts:lp",
            Lp,
            "Sum of the p-th powers of the differences, relative to that of the expert.",
        )
    },
    objectives={
        "moments": Part(
            "mylab_parts.parts:moments",
            Moments,
            "Squared distance of the means and variances of penultimate features.",
        )
    },
    networks={
        "wide": Part("mylab_parts.parts:wide", Wide, "One convolution, pooled to 2x2."),
    },
    datasets={
        "stripes": Part("mylab_parts.parts:stripes", meaning="Noisy stripes in two directions."),
    },
)
