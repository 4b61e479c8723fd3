"""Results of a run that evaluated at most one set."""

import pytest

from ddspec.dsl.record.record import Accuracy, Results


@pytest.fixture
def results_at():
    """A function that returns results whose accuracy is that of one iteration, or of none."""

    def make(iteration=None):
        accuracy = None
        if iteration is not None:
            accuracy = Accuracy(
                mean=1,
                std=0,
                n=1,
                values=(1.0,),
                network="convnet",
                choose="best_on_test",
                iteration=iteration,
            )
        return Results(
            accuracy=accuracy,
            last=None,
            best_on_test=None,
            per_network={},
            random_real={},
            random_real_expert_labels={},
            expert=None,
            reached=(),
        )

    return make
