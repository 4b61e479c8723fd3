"""What an evaluation protocol sets, and what it leaves to the keys."""

import pytest

from ddspec.dsl.parsing.loader import parse_spec
from ddspec.dsl.spec.evaluation import Evaluation

SPEC = 'ddspec = 1\nname = "x"\n[dataset]\nname = "digits"\nvalidation = 0.1\n[network]\ndepth = 2\n[synthetic]\nipc = 1\n[evaluation]\n'


def evaluation(text: str) -> Evaluation:
    return parse_spec(SPEC + text, "x.toml").spec.evaluation


def test_absent_keys_have_the_values_of_the_protocol():
    dc = evaluation('protocol = "dc"')
    assert (dc.epochs, dc.repeats, dc.lr, dc.augmentation) == (301, 20, 0.01, ())
    assert evaluation('protocol = "datm"').batch_size == 128
    assert evaluation('protocol = "mtt"') == Evaluation() == evaluation("repeats = 5")


def test_given_keys_win_over_the_protocol():
    dc = evaluation('protocol = "dc"\nepochs = 7\naugmentation = ["crop"]')
    assert (dc.epochs, dc.repeats, dc.augmentation) == (7, 20, ("crop",))


@pytest.mark.parametrize(
    ("keys", "lr", "searched"),
    [("", None, True), ("lr = 0.1", 0.1, False), ("lr_search = [0.1, 0.2]", None, True)],
)
def test_dd_ranking_searches_a_rate_unless_it_is_given(keys, lr, searched):
    made = evaluation(f'protocol = "dd_ranking"\n{keys}')
    assert (made.lr, made.lr_search is not None) == (lr, searched)


def test_protocol_dc_searches_where_rates_are_listed():
    assert evaluation('protocol = "dc"\nlr_search = [0.1, 0.2]').lr is None


@pytest.mark.parametrize("protocol", ["mtt", "ast", "datm", "dc", "dd_ranking"])
def test_values_written_out_mean_the_same(protocol):
    made = evaluation(f'protocol = "{protocol}"')
    assert Evaluation.model_validate(made.model_dump()) == made
    assert Evaluation.model_validate(made.model_dump(exclude_none=True)) == made
