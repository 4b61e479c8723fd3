"""Sweeps: every combination is an experiment, checked and named like any other."""

import pytest

from ddspec.dsl.diagnostics import SpecError
from ddspec.dsl.facts.machine import Machine
from ddspec.dsl.parsing import loader, sweep
from ddspec.dsl.parsing.loader import LoadedSpec, LoadedSweep, parse_spec, parse_spec_or_sweep
from ddspec.dsl.plan.compiler import compile_spec
from ddspec.dsl.toml_text import toml_text

BASE = """\
ddspec = 1
name = "swept"
[dataset]
name = "digits"
[synthetic]
ipc = 1
"""
CASES = """
[[sweep.cases]]
name = "plain"
[[sweep.cases]]
name = "clipped"
after = "plain"
"experts.smoothing.clipped_loss" = { start = 0.25 }
[[sweep.cases]]
name = "and noise"
after = "clipped"
"synthetic.init" = "noise"
"experts.smoothing.clipped_loss" = { start = 0.75 }
"""


def swept(text, *overrides):
    loaded = parse_spec_or_sweep(BASE + text, "sweep.toml", overrides)
    assert isinstance(loaded, LoadedSweep)
    return loaded


def problems(text, *overrides):
    with pytest.raises(SpecError) as caught:
        parse_spec_or_sweep(BASE + text, "sweep.toml", overrides)
    return caught.value.diagnostics


def test_every_combination_is_a_spec_and_the_last_axis_changes_fastest():
    sweep = swept(
        '[sweep]\n"matching.syn_steps" = [5, 6]\n'
        '[[sweep.together]]\n"experts.count" = [2, 3]\n"experts.seed" = [7, 8]\n'
    )
    assert [axis.name for axis in sweep.axes] == [
        "matching.syn_steps",
        "experts.count, experts.seed",
    ]
    specs = [member.loaded.spec for member in sweep.members]
    seen = [(s.matching.syn_steps, s.experts.count, s.experts.seed) for s in specs]
    assert seen == [(5, 2, 7), (5, 3, 8), (6, 2, 7), (6, 3, 8)]
    labels = [member.combination.label for member in sweep.members]
    assert labels[1] == "syn_steps = 5, count = 3, seed = 8"


def test_case_inherits_the_changes_of_the_case_it_is_after():
    plain, clipped, noisy = (member.loaded.spec for member in swept(CASES).members)
    assert plain.experts.smoothing.clipped_loss is None
    assert clipped.experts.smoothing.clipped_loss.start == 0.25
    assert (noisy.experts.smoothing.clipped_loss.start, noisy.synthetic.init.name) == (
        0.75,
        "noise",
    )


def test_member_has_the_plan_of_a_spec_with_the_same_values(digits_facts):
    machine = Machine("cpu", 2)
    member = swept('[sweep]\n"matching.syn_steps" = [5, 6]\n').members[1].loaded
    alone = parse_spec(BASE + "[matching]\nsyn_steps = 6\n", "alone.toml")
    plans = [compile_spec(x.spec, digits_facts, machine) for x in (member, alone)]
    assert plans[0] == plans[1]


def test_tables_lists_and_names_may_be_swept():
    sweep = swept(
        '[sweep]\n"augmentation.families" = [["flip"], []]\n'
        '"experts.optimizer" = [{ name = "adam" }, "sgd"]\n'
    )
    specs = [member.loaded.spec for member in sweep.members]
    assert [spec.augmentation.families for spec in specs[::2]] == [("flip",), ()]
    assert [spec.experts.optimizer.name for spec in specs[:2]] == ["adam", "sgd"]
    assert sweep.members[0].combination.label == 'families = ["flip"], name = adam'.replace(
        "name = adam", "optimizer = adam"
    )


def test_changes_are_options_with_their_line():
    loaded = swept(CASES).members[1].loaded
    assert [o.option for o in loaded.overrides] == [
        "--set experts.smoothing.clipped_loss={ start = 0.25 }"
    ]
    assert loaded.line_of("experts.smoothing.clipped_loss.start") == 13
    assert loaded.line_of("synthetic.ipc") == 6


@pytest.mark.parametrize(
    ("value", "text"),
    [(1, "1"), (0.5, "0.5"), ("a b", '"a b"'), (True, "true"), ({}, "{}"), ([1, "x"], '[1, "x"]')],
)
def test_values_are_written_as_toml(value, text):
    assert toml_text(value) == text


def test_error_of_a_value_is_at_the_value():
    (error,) = problems('[sweep]\n"matching.syn_steps" = [5, 0]\n')
    assert error.code == "out-of-range"
    assert (error.span.line, error.span.column) == (8, 28)


def test_error_outside_the_sweep_is_reported_once():
    text = '[evaluation]\nrepeats = 0\n[sweep]\n"matching.syn_steps" = [5, 6, 7]\n'
    (error,) = problems(text)
    assert (error.key, error.span.line) == ("evaluation.repeats", 8)


def test_unknown_key_is_reported_once_at_the_key():
    (error,) = problems('[sweep]\n"matching.sin_steps" = [5, 6]\n')
    assert (error.code, error.span.column) == ("unknown-key", 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[sweep]\n", "at least one key to sweep"),
        ('[sweep]\n"matching.syn_steps" = []\n', "list of values"),
        (
            '[sweep]\n"matching.syn_steps" = [1]\n[[sweep.together]]\n"matching.syn_steps" = [2]\n',
            "another axis",
        ),
        ('[sweep]\n"seed" = [' + "1, " * 1001 + "]\n", "at most 1000"),
        ("[sweep]\ncases = 3\n", "array of tables"),
        ('[sweep]\n"a b" = [1]\n', "a sweep cannot change this"),
        ("[sweep]\nsweep = [1]\n", "a sweep cannot change this"),
    ],
)
def test_invalid_sweep_is_refused(text, words):
    errors = problems(text)
    assert {error.code for error in errors} == {"bad-sweep"}
    assert words in errors[0].problem


def test_setting_a_swept_key_replaces_the_list_of_its_values(digits_facts):
    text = '[sweep]\nseed = [1, 2]\n"matching.syn_steps" = [5, 6]\n'
    both = swept(text, "seed=7")
    assert [axis.name for axis in both.axes] == ["matching.syn_steps"]
    assert [member.loaded.spec.seed for member in both.members] == [7, 7]
    chosen = parse_spec(BASE + text, "sweep.toml", ["matching.syn_steps=6", "seed=2"])
    machine = Machine("cpu", 1)
    (member,) = [m for m in swept(text).members if m.combination.label == "seed = 2, syn_steps = 6"]
    plans = [compile_spec(m.spec, digits_facts, machine) for m in (chosen, member.loaded)]
    assert plans[0].steps == plans[1].steps


@pytest.mark.parametrize(
    "sweep",
    [
        '[[sweep.together]]\nseed = [1, 2]\n"synthetic.ipc" = [1, 2]\n',
        '[[sweep.cases]]\nname = "other seed"\nseed = 1\n',
    ],
)
def test_a_key_that_changes_together_with_others_cannot_be_set_alone(sweep):
    (error,) = problems(sweep, "seed=7")
    assert (error.code, error.file) == ("bad-override", "--set seed=7")


def test_other_keys_can_be_set_for_all_runs():
    sweep = swept('[sweep]\n"matching.syn_steps" = [5, 6]\n', "synthetic.ipc=3")
    assert {member.loaded.spec.synthetic.ipc for member in sweep.members} == {3}


def test_sweep_is_refused_if_one_experiment_is_needed():
    with pytest.raises(SpecError, match="this sweep has 2 experiments"):
        parse_spec(BASE + '[sweep]\n"seed" = [1, 2]\n', "sweep.toml")
    assert isinstance(parse_spec_or_sweep(BASE, "spec.toml"), LoadedSpec)


REPORTED = """
[[sweep.cases]]
name = "plain"
expect = [{ accuracy = 40.0, choose = "last", source = "Invented et al." }]
[[sweep.cases]]
name = "and noise"
after = "plain"
"synthetic.init" = "noise"
"""


def test_a_published_number_belongs_to_its_case_alone():
    plain, noise = swept(REPORTED).members
    assert [expected.accuracy for expected in plain.loaded.spec.expect] == [40.0]
    assert noise.loaded.spec.expect == ()


def test_a_published_number_changes_no_plan(digits_facts):
    reported, _ = swept(REPORTED).members
    silent, *_ = swept(CASES).members
    plans = [
        compile_spec(member.loaded.spec, digits_facts, Machine("cpu", 2))
        for member in (reported, silent)
    ]
    assert plans[0].digest == plans[1].digest


def test_error_of_a_published_number_is_at_its_case():
    with pytest.raises(SpecError) as caught:
        swept(REPORTED.replace('source = "Invented et al."', "std = 1.0"))
    (error,) = caught.value.diagnostics
    assert error.span.line == 10


def chain(cases, change):
    """Return the text of a sweep in which every case comes after the one before it."""
    links = [f'after = "c{number - 1}"\n' if number else "" for number in range(cases)]
    return "".join(
        f'[[sweep.cases]]\nname = "c{number}"\n{link}{change(number)}\n'
        for number, link in enumerate(links)
    )


def test_unknown_keys_of_long_chains_are_found_before_anything_is_expanded(monkeypatch):
    monkeypatch.setattr(loader, "validate", None)
    errors = problems(chain(500, lambda number: f'"k{number}.v" = 1'))
    assert [error.key for error in errors] == [f"k{number}" for number in range(100)]
    assert errors[3].span.line == BASE.count("\n") + 4 * 4 - 1


def test_long_chain_is_one_run_per_case():
    assert len(swept(chain(400, lambda number: f"seed = {number}")).members) == 400


@pytest.mark.parametrize("count", [60_000, 200_000])
def test_values_are_counted_before_they_are_read(count, monkeypatch):
    monkeypatch.setattr(sweep, "label_of", None)
    (error,) = problems("[sweep]\nseed = [" + "1," * count + "]\n")
    assert error.problem == f"{count} combinations, but a sweep may have at most 1000"


def test_number_of_combinations_may_be_any_number():
    text = "[sweep]\n" + "".join(f'"k{number}" = [1, 2]\n' for number in range(15_000))
    (error,) = problems(text)
    assert error.problem.startswith("more than 1000000000000 combinations")
    together = "".join(f'[[sweep.together]]\n"k{n}" = [1, 2]\n' for n in range(15))
    assert problems(together)[0].problem.startswith("32768 combinations")


def test_values_of_all_runs_together_are_limited():
    published = '{ accuracy = 40.0, choose = "last", source = "x" }, ' * 100
    text = f"expect = [{published}]\n" + BASE + "[sweep]\nseed = [" + "1, " * 1000 + "]\n"
    with pytest.raises(SpecError) as caught:
        parse_spec_or_sweep(text, "sweep.toml")
    (error,) = caught.value.diagnostics
    assert "values in 1000 runs" in error.problem


def test_mistakes_of_many_runs_are_cut():
    seeds = ", ".join(str(-1 - number) for number in range(1000))
    assert len(problems(f"[sweep]\nseed = [{seeds}]\n")) == 100


def test_earlier_cases_are_listed_up_to_ten():
    cases = "".join(f'[[sweep.cases]]\nname = "c{number}"\n' for number in range(30))
    (error,) = problems(cases + '[[sweep.cases]]\nname = "last"\nafter = "x"\n')
    assert error.hint.startswith('earlier cases: 20 others, "c20", "c21"')
