"""The list of rules: complete, and applied to what a spec asks of the dataset."""

import inspect

import pytest

from ddspec.dsl.facts.datasets import KNOWN
from ddspec.dsl.reference.error_codes import CODES
from ddspec.dsl.rules import data, evaluation, experts, trajectory
from ddspec.dsl.rules.checks import CHECKS, SOURCE_CHECKS, check
from ddspec.dsl.spec.experiment import Spec


@pytest.mark.parametrize("module", [data, evaluation, experts, trajectory])
def test_every_rule_is_in_the_list(module):
    rules = {
        function
        for _, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__
        and list(inspect.signature(function).parameters) == ["spec", "facts"]
    }
    assert rules <= {*SOURCE_CHECKS, *CHECKS}


def test_no_rule_is_listed_twice():
    rules = [*SOURCE_CHECKS, *CHECKS]
    assert len(rules) == len(set(rules))


def test_law_of_every_rule_is_its_docstring():
    for rule in (*SOURCE_CHECKS, *CHECKS):
        first_line = (inspect.getdoc(rule) or "").splitlines()[0]
        assert first_line.endswith("."), rule.__name__


def spec(**tables):
    values = {"ddspec": 1, "name": "x", "dataset": {"name": "digits"}, "network": {"depth": 2}}
    return Spec.model_validate({**values, "synthetic": {"ipc": 1}, **tables})


def test_default_spec_breaks_no_rule():
    assert list(check(spec())) == []


def test_every_code_of_a_finding_has_an_explanation():
    many = spec(
        dataset={"name": "digits", "root": "../x", "fit": "stretch", "statistics": "public_code"},
        network={"depth": 8, "width": 30, "norm": "group"},
        synthetic={"ipc": 500, "init": "noise", "labels": "expert"},
        matching={"min_start_epoch": 60, "max_start_epoch": 60, "batch_syn": 9000},
        evaluation={"networks": ["vgg11", "vgg11"], "choose": "validation"},
    )
    codes = {diagnostic.code for diagnostic in check(many)}
    assert len(codes) > 10
    assert codes <= set(CODES)


def test_classes_of_the_spec_count_and_not_those_of_the_dataset():
    two = spec(
        dataset={"name": "digits", "classes": ["3", "7"]},
        synthetic={"ipc": 2},
        matching={"batch_syn": 5},
    )
    (error,) = check(two)
    assert (error.code, error.hint.split(",")[0]) == (
        "batch-larger-than-synthetic-set",
        "use at most 4",
    )


def test_unknown_classes_are_the_only_finding_if_fewer_than_two_are_left():
    wrong = spec(dataset={"name": "digits", "classes": ["x", "7"]}, matching={"batch_syn": 5000})
    assert {diagnostic.code for diagnostic in check(wrong, KNOWN["digits"])} == {"unknown-class"}
