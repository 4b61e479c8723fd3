"""Cases of a parametrised test that only the slow run performs."""

from collections.abc import Iterable
from typing import Any

import pytest


def first_by_default(values: Iterable[Any], count: int = 1) -> list[Any]:
    """Return the cases of a test, all but the first `count` marked as slow.

    For cases that are alike: the default run shows that the test works, the slow one has all.
    """
    return [
        value
        if number < count
        else pytest.param(
            *(value if isinstance(value, tuple) else (value,)), marks=pytest.mark.slow
        )
        for number, value in enumerate(values)
    ]
