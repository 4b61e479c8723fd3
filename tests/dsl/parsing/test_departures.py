"""Departures: what options change in a spec that states published numbers."""

from ddspec.dsl.parsing.departures import ChangedSetting, departures
from ddspec.dsl.parsing.loader import LoadedSweep, parse_spec, parse_spec_or_sweep

PUBLISHED = """\
ddspec = 1
name = "published"
[dataset]
name = "digits"
[synthetic]
ipc = 1
init = "real"
[matching]
iterations = 1000
[[expect]]
accuracy = 28.3
source = "Invented et al."
"""


def departures_of(text, *options):
    return [(c.key, c.value, c.in_file) for c in departures(parse_spec(text, "s.toml", options))]


def test_changed_keys_stand_with_both_values():
    changed = departures_of(PUBLISHED, "matching.iterations=200", "evaluation.repeats=3", "name=a")
    assert changed == [("matching.iterations", "200", "1000"), ("evaluation.repeats", "3", "5")]


def test_an_option_that_changes_nothing_is_no_departure():
    assert departures_of(PUBLISHED, "matching.iterations=1000", "evaluation.repeats=5") == []


def test_rows_to_compare_with_are_no_departure():
    assert departures_of(PUBLISHED, 'evaluation.baselines=["random_real"]') == []


def test_a_spec_without_published_numbers_has_no_departures():
    text = PUBLISHED.partition("[[expect]]")[0]
    assert departures_of(text, "matching.iterations=200") == []


def test_a_table_is_compared_key_by_key():
    changed = departures_of(PUBLISHED, 'synthetic.init={ name = "representative", clusters = 1 }')
    assert ("synthetic.init.name", '"representative"', '"real"') in changed
    assert ("synthetic.init.clusters", "1", "not set") in changed


def test_a_swept_key_that_is_set_departs_from_all_its_values():
    text = PUBLISHED + "[sweep]\nseed = [0, 1, 2]\n"
    assert departures_of(text, "seed=1") == [("seed", "1", "each of [0, 1, 2]")]
    assert departures_of(text, "seed=1", "matching.iterations=2") == [
        ("matching.iterations", "2", "1000"),
        ("seed", "1", "each of [0, 1, 2]"),
    ]


def test_what_a_sweep_changes_is_no_departure():
    text = PUBLISHED + '[sweep]\nseed = [0, 1]\n[[sweep.cases]]\nname = "a"\n"synthetic.ipc" = 2\n'
    sweep = parse_spec_or_sweep(text, "s.toml", ["seed=7", "matching.iterations=5"])
    assert isinstance(sweep, LoadedSweep)
    (member,) = sweep.members
    assert departures(member.loaded) == (
        ChangedSetting("matching.iterations", "5", "1000"),
        ChangedSetting("seed", "7", "each of [0, 1]"),
    )


def test_departures_of_a_file_that_is_valid_with_an_option_alone_are_found():
    text = PUBLISHED.replace("ipc = 1", 'ipc = "one"')
    changed = departures_of(text, "synthetic.ipc=2", "matching.syn_steps=4")
    assert ("synthetic.ipc", "2", '"one"') in changed
    assert ("matching.syn_steps", "4", "not set") in changed


def test_a_long_value_is_shortened():
    option = "experts.optimizer={ name = 'sgd', lr = 0.5 }"
    assert all(len(value) <= 64 for _, value, _ in departures_of(PUBLISHED, option))
    (expect,) = departures_of(PUBLISHED, 'expect=[{ accuracy = 3.0, source = "' + "x" * 99 + '" }]')
    assert expect[0] == "expect"
    assert len(expect[1]) <= 64
