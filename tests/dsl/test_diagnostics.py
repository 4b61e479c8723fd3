"""Golden pairs: an invalid spec and the exact diagnostics of the compiler."""

import difflib
from pathlib import Path

import pytest

from ddspec.dsl.diagnostics import (
    Diagnostic,
    Span,
    SpecError,
    render_diagnostic,
    render_diagnostics,
)
from ddspec.dsl.parsing.loader import load_spec, parse_spec
from ddspec.dsl.reference.error_codes import CODES

INVALID = sorted((Path(__file__).parent / "golden" / "invalid").glob("*.toml"))
NOT_IN_A_FILE = {
    "bad-override",
    "unreadable-spec",
    "incomplete-dataset",
    "other-split",
    "constant-images",
}
"""Codes that are not about the text of a spec."""


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_message_is_the_golden_one(path, golden, monkeypatch):
    monkeypatch.chdir(path.parent)
    try:
        diagnostics = load_spec(Path(path.name)).warnings
    except SpecError as error:
        diagnostics = error.diagnostics
    assert path.stem in {diagnostic.code for diagnostic in diagnostics}
    golden(path.with_suffix(".txt"), render_diagnostics(diagnostics) + "\n")


def test_every_code_has_a_golden_pair_and_an_explanation():
    assert {path.stem for path in INVALID} | NOT_IN_A_FILE == set(CODES)


SIX_MISTAKES = """\
ddspec = 1
name = "six"
syn_steps = 5
[dataset]
name = "digit"
[network]
depth = "two"
[synthetic]
ipcs = 1
lr_img = 100
[matching]
max_start_epoch = 60
"""


def test_six_mistakes_give_six_errors_at_their_places_and_across_keys():
    with pytest.raises(SpecError) as caught:
        parse_spec(SIX_MISTAKES, "six.toml")
    places = [(d.code, d.span.line, d.span.column) for d in caught.value.diagnostics]
    assert places == [
        ("misplaced-key", 3, 1),
        ("unknown-name", 5, 8),
        ("wrong-type", 7, 9),
        ("unknown-key", 9, 1),
        ("renamed-key", 10, 1),
        ("expert-window-too-long", 12, 19),
    ]


def test_rule_is_silent_if_a_key_it_depends_on_is_at_fault():
    text = 'ddspec = 1\nname = "x"\n[dataset]\nname = "digits"\n[synthetic]\nipc = 1\n'
    text += '[experts]\nepochs = "many"\n[matching]\nmax_start_epoch = 60\n'
    with pytest.raises(SpecError) as caught:
        parse_spec(text, "x.toml")
    assert [d.code for d in caught.value.diagnostics] == ["wrong-type"]


@pytest.mark.parametrize(
    ("override", "code", "file"),
    [
        ("matching.syn_steps", "bad-override", "--set matching.syn_steps"),
        ("matching.syn_steps=x", "wrong-type", "--set matching.syn_steps=x"),
        ("matching.sin_steps=3", "unknown-key", "--set matching.sin_steps=3"),
        ("synthetic.init.name=foo", "unknown-name", "--set synthetic.init.name=foo"),
        ("name.foo=1", "wrong-type", "--set name.foo=1"),
        ("matching.syn_steps.x=3", "wrong-type", "--set matching.syn_steps.x=3"),
        ("expect[0].accuracy=4", "bad-override", "--set expect[0].accuracy=4"),
        ("seed=1" + "0" * 5000, "wrong-type", "--set seed=1" + "0" * 5000),
        ("matching.iterations=20\nfoo=3", "wrong-type", "--set matching.iterations=20\nfoo=3"),
        ("synthetic.ipc=500", "more-images-than-class-has", "--set synthetic.ipc=500"),
    ],
)
def test_override_at_fault_is_named_as_it_was_typed(override, code, file, smoke):
    with pytest.raises(SpecError) as caught:
        load_spec(smoke, [override])
    (error,) = caught.value.diagnostics
    assert (error.code, error.file, error.span) == (code, file, None)


def test_override_reaches_the_spec(smoke):
    spec = load_spec(smoke, ["matching.syn_steps=7", "synthetic.init=noise"]).spec
    assert spec.matching.syn_steps == 7
    assert spec.synthetic.init.name == "noise"


def test_missing_file_is_a_diagnostic(tmp_path):
    with pytest.raises(SpecError) as caught:
        load_spec(tmp_path / "nothing.toml")
    assert caught.value.diagnostics[0].code == "unreadable-spec"


def test_underline_is_under_wide_characters():
    diagnostic = Diagnostic("c", "k", "p", file="f", span=Span(1, 5, 2), line_text="温度= ab")
    line, marks = render_diagnostic(diagnostic).splitlines()[2:4]
    assert line == " 1 | 温度= ab"
    assert marks == "   |       ^^"


@pytest.mark.parametrize(
    ("line", "code", "position"),
    [
        ('"a[b]" = 3', "unknown-key", (7, 1)),
        ('"a.b.c" = 3', "unknown-key", (7, 1)),
        ("seed = 1" + "0" * 5000, "toml-syntax", None),
        ("[foo.bar]", "unknown-key", (7, 2)),
        ("[[network]]", "wrong-type", (7, 3)),
        ("[[synthetic.images]]", "wrong-type", (7, 3)),
        ("[expect]", "wrong-type", (7, 2)),
        ('[trajectory]\ntype = "convx"', "unknown-name", (8, 8)),
        ('trajectory = "convx"', "misplaced-key", (7, 1)),
        ('[experts]\noptimizer = "adamw"', "unknown-name", (8, 13)),
        ("[evaluation]\nnetworks = []", "out-of-range", (8, 12)),
        ("[experts]\nbatch_size = 99999999999999999999", "out-of-range", (8, 14)),
    ],
)
def test_hostile_line_is_one_error_at_its_position(line, code, position):
    text = f'ddspec = 1\nname = "x"\n[dataset]\nname = "digits"\n[synthetic]\nipc = 1\n{line}\n'
    with pytest.raises(SpecError) as caught:
        parse_spec(text, "x.toml")
    (error,) = caught.value.diagnostics
    assert error.code == code
    assert (error.span and (error.span.line, error.span.column)) == position
    assert "tuple" not in render_diagnostic(error)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (
            "synthetic.momentum=0.5",
            "[synthetic.labels] or [synthetic.student_lr] or [synthetic.images]",
        ),
        ("matching.rho=0.1", "belongs in [matching.perturbation]"),
        ("expert.count=3", "did you mean `experts`?"),
        ("experts.lr_decay=0.5", "lr_decay = { epoch = ..., factor = ... }"),
        ("matching.intermediate=true", "intermediate = {}"),
        ("experts.optimizer={name='adam', rho=1.0}", 'choose name = "gsam"'),
        ("evaluation.networks=['resnet']", '"convnet"'),
    ],
)
def test_hint_says_where_the_key_belongs(option, words):
    text = 'ddspec = 1\nname = "x"\n[dataset]\nname = "digits"\n[network]\ndepth = 2\n[synthetic]\nipc = 1\n'
    with pytest.raises(SpecError) as caught:
        parse_spec(text, "x.toml", [option])
    (error,) = caught.value.diagnostics
    assert words in f"{error.problem} {error.hint}"


def test_work_for_thousands_of_mistakes_is_bounded(monkeypatch):
    searches = []
    search = difflib.get_close_matches

    def count(*arguments, **options):
        searches.append(arguments)
        return search(*arguments, **options)

    monkeypatch.setattr(difflib, "get_close_matches", count)
    text = 'ddspec = 1\nname = "x"\n' + "".join(f"key{n} = {n}\n" for n in range(20_000))
    with pytest.raises(SpecError) as caught:
        parse_spec(text, "x.toml")
    # Searches for similar keys are the costly part: a few for each of the findings.
    assert len(searches) <= 1000
    assert 50 <= len(caught.value.diagnostics) <= 200


@pytest.mark.parametrize("name", ["/dev/zero", "/dev/null", "."])
def test_special_file_is_refused_without_reading(name):
    with pytest.raises(SpecError, match="not a regular file"):
        load_spec(Path(name))
