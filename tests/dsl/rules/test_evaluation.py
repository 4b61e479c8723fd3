"""Rules on evaluation, on both sides of their borders."""

from ddspec.dsl.rules import evaluation


def test_expected_network_is_evaluated(broken):
    rule = evaluation.expected_networks_evaluated
    expect = [
        {"network": "convnet", "accuracy": 44.4, "source": "a paper"},
        {"network": "mlp", "accuracy": 40.0, "source": "a paper"},
    ]
    assert not broken(rule, expect=expect, evaluation={"networks": ["convnet", "mlp"]})
    (error,) = broken(rule, expect=expect, evaluation={"networks": ["convnet"]})
    assert (error.code, error.key) == ("expectation-not-evaluated", "expect[2].network")
    assert error.hint == 'add "mlp" to evaluation.networks'


def test_network_is_listed_once(broken):
    rule = evaluation.evaluation_networks_distinct
    assert not broken(rule, evaluation={"networks": ["convnet", "mlp"]})
    (error,) = broken(rule, evaluation={"networks": ["convnet", "mlp", "convnet"]})
    assert error.code == "network-named-twice"
    assert error.problem == '"convnet" is listed 2 times'


def test_at_most_ten_thousand_evaluations_are_possible(broken):
    rule, most = evaluation.evaluations_within_limit, evaluation.MOST_EVALUATIONS
    assert not broken(rule, matching={"iterations": most}, evaluation={"every": 1})
    (error,) = broken(rule, matching={"iterations": most + 1}, evaluation={"every": 1})
    assert error.code == "too-many-evaluations"
    assert error.hint == "use at least 2"
    assert not broken(rule, matching={"iterations": most + 1}, evaluation={"every": 2})
