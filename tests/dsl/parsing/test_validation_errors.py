"""Every kind of pydantic error becomes a diagnostic that names the value and a fix."""

import pytest
from pydantic import BaseModel

from ddspec.dsl.diagnostics import SpecError
from ddspec.dsl.parsing.loader import parse_spec
from ddspec.dsl.spec.catalogue import catalogue
from ddspec.dsl.spec.experiment import Spec

BASE = 'ddspec = 1\nname = "x"\n[dataset]\nname = "digits"\n[network]\ndepth = 2\n'
BASE += "[synthetic]\nipc = 1\n"


def error_of(*options):
    with pytest.raises(SpecError) as caught:
        parse_spec(BASE, "x.toml", options)
    (error,) = caught.value.diagnostics
    return error


@pytest.mark.parametrize(
    ("option", "problem", "hint"),
    [
        (
            "experts.imported=xyz",
            '"xyz" does not have the required form',
            "must be 32 hexadecimal digits, as `ddspec import` prints them",
        ),
        (
            "name=.x",
            '".x" does not have the required form',
            "must be 1 to 100 letters, digits, dots, dashes or underscores, beginning with a "
            "letter or digit",
        ),
        ("experts.count=0", "0 is out of range", "must be at least 1 and at most 100000"),
        ("matching.student_momentum=1.0", "1.0 is out of range", "must be at least 0 and below 1"),
        (
            "matching.loss_limit=nan",
            "nan is out of range",
            "must be above 0 and at most 1e+30",
        ),
        ("evaluation.networks=[]", "the list is empty", "write at least 1 value"),
        ("dataset.classes=['3']", "the list has 1 value", "write at least 2 values"),
        ("dataset.root=''", "the string is empty", "write at least 1 character"),
        ("title=" + "x" * 301, "the string has 301 characters", "use at most 300 characters"),
        (
            "ddspec=2",
            "this ddspec reads version 1 of the language, not 2",
            "write ddspec = 1, or install the ddspec that the spec was written for",
        ),
        (
            "synthetic.ipc='ten'",
            '"ten" is a string',
            "must be a whole number, at least 1 and at most 1000000",
        ),
        ("compute.deterministic=1", "1 is a whole number", "must be true or false"),
        (
            "experts.optimizer=true",
            "true is a boolean",
            "write optimizer = {} for a table with default values, or remove the key",
        ),
        (
            "experts.lr_decay=true",
            "true is a boolean",
            "must be a table, such as lr_decay = { epoch = ..., factor = ... }",
        ),
        ("synthetic.init=['real']", "[ ... ] is a list", None),
        ("expect={}", "{ } is a table", "write [[expect]], with double brackets"),
        (
            "network.norm=instancenorm",
            '"instancenorm" is not one of the choices',
            'did you mean "instance"? choices: "instance", "batch", "layer", "group", "none"',
        ),
        (
            "experts.optimizer={name='adam', rho=1.0}",
            '[experts.optimizer] has `rho` only with name = "gsam"',
            'remove it, or choose name = "gsam"',
        ),
        (
            "synthetic.lr_teacher=0.1",
            "this key is called `synthetic.student_lr.init` here",
            "write student_lr = { init = ... } in [synthetic]",
        ),
        (
            "synthetic.lr_init=0.1",
            "the public code accepts `lr_init` but never reads it",
            "its authors probably meant `synthetic.student_lr.init`: "
            "write student_lr = { init = ... } in [synthetic]",
        ),
        ("synthetic.syn_steps=3", "[synthetic] has no key `syn_steps`", None),
        ("matching.syn_stpes=3", "[matching] has no key `syn_stpes`", "did you mean `syn_steps`?"),
        ("trajectory={waypoints=3}", "this key is missing and has no default", None),
    ],
)
def test_problem_has_the_value_and_the_hint_a_fix(option, problem, hint):
    error = error_of(option)
    assert error.problem == problem
    assert hint is None or error.hint == hint


def test_missing_key_is_not_reported_beside_its_misspelling():
    with pytest.raises(SpecError) as caught:
        parse_spec(BASE.replace("ipc =", "icp ="), "x.toml")
    assert [d.code for d in caught.value.diagnostics] == ["unknown-key"]


def test_list_with_an_invalid_item_is_not_too_short_as_well():
    assert error_of("evaluation.networks=['resnet']").code == "unknown-name"


def test_key_with_a_pattern_describes_it_in_words():
    with_pattern = [path for path, field in fields(Spec, "") if has_pattern(field)]
    assert {"name", "experts.imported"} <= set(with_pattern)
    for path in with_pattern:
        assert catalogue()[path].pattern_words, path


def fields(model, above):
    """Paths and fields of the tables without alternatives."""
    for name, field in model.model_fields.items():
        path = f"{above}.{name}" if above else name
        yield path, field
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from fields(field.annotation, path)


def has_pattern(field):
    return any(getattr(constraint, "pattern", None) for constraint in field.metadata)
