"""The keys of the language: frozen defaults, documented, and each of them read."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddspec.api import resolved_toml
from ddspec.dsl.diagnostics import SpecError
from ddspec.dsl.facts.machine import Machine
from ddspec.dsl.parsing.loader import load_spec, parse_spec
from ddspec.dsl.plan.compiler import compile_spec
from ddspec.dsl.record.deviations import deviations
from ddspec.dsl.reference.error_codes import CODES
from ddspec.dsl.reference.explain import explain
from ddspec.dsl.reference.schema import json_schema
from ddspec.dsl.spec.catalogue import catalogue
from ddspec.dsl.spec.experiment import Spec

GOLDEN = Path(__file__).parents[1] / "golden"
MACHINE = Machine("cpu", 2)


def test_defaults_of_language_1_are_frozen(golden):
    spec = load_spec(GOLDEN / "valid" / "minimal.toml").spec
    golden(GOLDEN / "defaults-1.json", json.dumps(spec.model_dump(mode="json"), indent=1) + "\n")


@pytest.mark.parametrize("path", list(catalogue()))
def test_every_key_has_a_meaning_and_keys_have_a_source(path):
    key = catalogue()[path]
    assert key.meaning
    assert key.source or key.is_table
    assert explain(path).startswith(path)


def test_explanation_of_every_code_is_prose():
    for code in CODES:
        assert len(explain(code).split()) > 8


def test_resolved_spec_gives_the_same_plan(digits_facts):
    for path in (GOLDEN / "valid").glob("*.toml"):
        loaded = load_spec(path)
        again = parse_spec(resolved_toml(loaded), "resolved.toml")
        first, second = (compile_spec(x.spec, digits_facts, MACHINE) for x in (loaded, again))
        assert first == second


CHANGES = {
    "title": None,
    "name": None,
    "seed": 4,
    "compute.precision": "bfloat16",
    "compute.deterministic": True,
    "preview": ["experts.count 3 -> 2"],
    "dataset.zca": True,
    "dataset.classes": ["3", "1"],
    "dataset.images_per_class": 30,
    "dataset.validation": 0.25,
    "dataset.split_seed": 3,
    "evaluation.networks": ["convnet", "mlp"],
    "evaluation.lr": 0.02,
    "evaluation.augmentation": ["flip"],
    "network.depth": 1,
    "network.width": 8,
    "network.widths": "doubling",
    "network.initialisation": "lecun",
    "network.norm": "instance",
    "network.pooling": "average",
    "network.activation": "relu",
    "augmentation.families": ["crop"],
    "experts.count": 4,
    "experts.epochs": 7,
    "experts.batch_size": 64,
    "experts.optimizer.lr": 0.5,
    "experts.optimizer.momentum": 0.1,
    "experts.optimizer.weight_decay": 0.1,
    "experts.lr_decay.epoch": 3,
    "experts.lr_decay.factor": 0.1,
    "experts.seed": 2,
    "experts.data_order.first_share": 0.5,
    "experts.data_order.all_from_epoch": 5,
    "experts.data_order.drop_from_epochs": [6],
    "experts.data_order.drop_shares": [0.125],
    "experts.optimizer.name": "gsam",
    "experts.lr_decay.restart": True,
    "experts.smoothing.clipped_loss.start": 0.25,
    "experts.smoothing.clipped_loss.epochs": 3,
    "experts.smoothing.gradient_penalty.weight": 0.5,
    "experts.smoothing.gradient_penalty.target": 0.5,
    "experts.smoothing.gradient_penalty.norm": "pixel",
    "experts.smoothing.gradient_penalty.input": "clean",
    "experts.smoothing.gradient_penalty.sides": "above",
    "trajectory.waypoints": 3,
    "trajectory.neighbour_smoothing": True,
    "trajectory.spacing": "path",
    "trajectory.sampling": "discrete",
    "synthetic.ipc": 3,
    "synthetic.partition": 2,
    "synthetic.init.name": "real",
    "synthetic.labels.name": "expert",
    "synthetic.student_lr.positivity": "hold",
    "synthetic.images.moving_average": 0.99,
    "synthetic.student_lr.init": 0.5,
    "synthetic.student_lr.lr": 0.5,
    "synthetic.student_lr.momentum": 0.1,
    "synthetic.images.lr": 0.5,
    "synthetic.images.momentum": 0.1,
    "matching.iterations": 60,
    "matching.syn_steps": 6,
    "matching.expert_epochs": 1.5,
    "matching.min_start_epoch": 1,
    "matching.max_start_epoch": 5,
    "matching.batch_syn": 9,
    "matching.start_range.name": "near_previous",
    "matching.student_momentum": 0.9,
    "matching.gradient": "tesla",
    "matching.matched_step": "nearest",
    "matching.balanced_inner_loss.offset": 7.0,
    "matching.balanced_inner_loss.log_base": 3.0,
    "matching.balanced_inner_loss.mid": 1.0,
    "matching.balanced_inner_loss.smooth": True,
    "matching.intermediate.weights": "growing",
    "matching.intermediate.points": "multiples",
    "matching.perturbation.rho": 0.2,
    "matching.perturbation.scale": "elementwise",
    "matching.perturbation.denominator": "expert",
    "matching.perturbation.dropout": 0.5,
    "matching.parameters.drop": 0.5,
    "matching.parameters.by": "error",
    "matching.loss_limit": 1.5,
    "matching.gradient_limit.norm": 2.0,
    "matching.gradient_limit.action": "skip",
    "evaluation.protocol": "ast",
    "evaluation.repeats": 3,
    "evaluation.every": 30,
    "evaluation.epochs": 11,
    "evaluation.batch_size": 7,
    "evaluation.choose": "last",
    "evaluation.baselines": ["random_real"],
    "evaluation.full_data.epochs": 7,
    "evaluation.full_data.lr": 0.5,
    "evaluation.full_data.repeats": 2,
}
OF_EXTENSIONS = {
    f"{table}.{key}"
    for table in ("dataset", "matching", "matching.loss", "network")
    for key in ("version", "code")
}
"""Keys of parts of extensions, which `tests/test_extensions.py` changes."""

ONE_VALUE_SO_FAR = {
    "ddspec",
    "dataset.name",
    "dataset.root",
    "dataset.statistics",
    "dataset.color",
    "dataset.alpha",
    "dataset.split",
    "dataset.resolution",
    "dataset.fit",
    "trajectory.type",
    "matching.objective",
    "matching.schedule.name",
    "matching.loss.name",
    "synthetic.images.lr_decay.name",
    "experts.data_order.score.name",
}
"""Keys with a single value so far, or whose value chooses the images themselves."""


ADAM, CORRECT = 'experts.optimizer={name="adam"}', 'synthetic.init={name="correct"}'
IMPORTED = 'synthetic.init={name="imported", set="0123456789abcdef0123456789abcdef"}'
REPRESENTATIVE = 'synthetic.init={name="representative"}'
LEARNED = 'synthetic.labels={name="learned", lr=1.0}'
ORDER = "experts.data_order={first_share=0.75, all_from_epoch=4}"
GSAM = 'experts.optimizer={name="gsam"}'
NEAR = 'matching.start_range={name="near_previous"}'
GROWING = 'matching.start_range={name="growing", first_bound=2, iterations=9}'
BARE = "experts={count=3, epochs=6}"
COMPARES_IMAGES = ("trajectory=sgd", "synthetic.student_lr={}", "evaluation.lr=0.01")
REGRESSION = (
    "synthetic.labels={name='regression', lr=0.1}",
    "evaluation.protocol='frepo'",
)
MATCHING = {
    "gradient": "matching={objective='gradient',outer_steps=2,network_epochs=3}",
    "distribution": "matching={objective='distribution'}",
    "characteristic": "matching={objective='distribution',statistic='characteristic'}",
    "feature": "matching={objective='feature',schedule={name='dynamic'}}",
    "performance": "matching={objective='performance',window=3,student_optimizer='adam'}",
    "sgd student": "matching={objective='performance',window=3,student_optimizer='sgd'}",
    "kernel": "matching={objective='kernel'}",
    "fixed": "matching={objective='feature',schedule={name='fixed',outer_steps=2,network_epochs=3}}",
}
ADAM_IMAGES = "synthetic.images={optimizer='adam'}"
DECAY = "synthetic.images={lr_decay={iterations=[1],factor=0.5}}"
COSINE = "synthetic.images={lr_decay={name='cosine',iterations=9}}"
BEZIER = "trajectory={type='bezier', optimizer={}}"
BEZIER_ADAM = "trajectory={type='bezier', optimizer='adam'}"

OF_ALTERNATIVES = {
    "trajectory.epochs": (BEZIER, 3),
    "trajectory.optimizer.name": (BEZIER, "adam"),
    "trajectory.optimizer.lr": (BEZIER, 0.5),
    "trajectory.optimizer.momentum": (BEZIER, 0.5),
    "trajectory.optimizer.weight_decay": (BEZIER, 0.5),
    "trajectory.optimizer.beta1": (BEZIER_ADAM, 0.5),
    "trajectory.optimizer.beta2": (BEZIER_ADAM, 0.5),
    "trajectory.optimizer.epsilon": (BEZIER_ADAM, 0.5),
    "synthetic.init.set": (IMPORTED, "f" * 32),
    "synthetic.init.iteration": (IMPORTED, 3),
    "evaluation.lr_search": ("dataset={name='digits',validation=0.1}", [0.1, 0.2]),
    "augmentation.siamese": (MATCHING["gradient"], True),
    "matching.batch_real": (MATCHING["gradient"], 8),
    "matching.distance": (MATCHING["gradient"], "cosine"),
    "matching.outer_steps": (MATCHING["gradient"], 4),
    "matching.network_epochs": (MATCHING["gradient"], 4),
    "matching.student.lr": (MATCHING["gradient"], 0.5),
    "matching.student.momentum": (MATCHING["gradient"], 0.5),
    "matching.student.batch_size": (MATCHING["gradient"], 8),
    "matching.gradient_limit.over_mean": ("matching.gradient_limit={over_mean=2.0}", 3.0),
    "matching.gradient_limit.mean_decay": ("matching.gradient_limit={over_mean=2.0}", 0.5),
    "matching.window": (MATCHING["performance"], 5),
    "matching.real_images": (MATCHING["performance"], 8),
    "matching.free_steps.most": (MATCHING["performance"], 5),
    "matching.free_steps.least": (
        "matching={objective='performance',window=3,free_steps={most=5}}",
        2,
    ),
    "matching.free_steps.drawn": (MATCHING["performance"], "per_iteration"),
    "matching.syn_per_class": (MATCHING["performance"], 1),
    "matching.student_lr": (MATCHING["performance"], 0.5),
    "matching.student_optimizer.momentum": (MATCHING["sgd student"], 0.5),
    "matching.student_optimizer.name": (MATCHING["performance"], "sgd"),
    "matching.student_optimizer.beta1": (MATCHING["performance"], 0.5),
    "matching.student_optimizer.beta2": (MATCHING["performance"], 0.5),
    "matching.student_optimizer.epsilon": (MATCHING["performance"], 0.5),
    "matching.features": (MATCHING["distribution"], "logits"),
    "matching.statistic.name": (MATCHING["distribution"], "characteristic"),
    "matching.statistic.frequencies": (MATCHING["characteristic"], 8),
    "matching.statistic.amplitude": (MATCHING["characteristic"], 0.25),
    "matching.ridge": (MATCHING["kernel"], 0.5),
    "matching.mirror": (MATCHING["kernel"], False),
    "matching.label_margin": (MATCHING["kernel"], 0.5),
    "matching.pool.networks": (MATCHING["kernel"], 5),
    "matching.pool.max_steps": (MATCHING["kernel"], 5),
    "matching.pool.lr": (MATCHING["kernel"], 0.5),
    "matching.pool.batch_size": (MATCHING["kernel"], 5),
    "matching.layer_weights": (MATCHING["feature"], [1.0, 2.0, 3.0]),
    "matching.embedding_weight": (MATCHING["feature"], 0.5),
    "matching.discrimination": (MATCHING["feature"], 0.5),
    "matching.schedule.window": (MATCHING["feature"], 4),
    "matching.schedule.pixel_tolerance": (MATCHING["feature"], 0.5),
    "matching.schedule.network_tolerance": (MATCHING["feature"], 0.5),
    "matching.schedule.query_per_class": (MATCHING["feature"], 4),
    "matching.schedule.carry_over": (MATCHING["feature"], True),
    "matching.schedule.max_pixel_steps": (MATCHING["feature"], 40),
    "matching.schedule.max_network_epochs": (MATCHING["feature"], 40),
    "matching.schedule.outer_steps": (MATCHING["fixed"], 4),
    "matching.schedule.network_epochs": (MATCHING["fixed"], 4),
    "synthetic.images.optimizer.name": ("synthetic.images={}", "adam"),
    "synthetic.images.optimizer.beta1": (ADAM_IMAGES, 0.5),
    "synthetic.images.optimizer.beta2": (ADAM_IMAGES, 0.5),
    "synthetic.images.optimizer.epsilon": (ADAM_IMAGES, 0.5),
    "synthetic.init.norm": ('synthetic.init={name="noise"}', 2.0),
    "synthetic.images.lr_decay.iterations": (DECAY, [1, 2]),
    "synthetic.images.lr_decay.factor": (DECAY, 0.25),
    "synthetic.images.lr_decay.final": (COSINE, 0.25),
    "experts.imported": (BARE, "0123456789abcdef" * 2),
    "network.name": ("network={}", "mlp"),
    "experts.data_order.score.networks": (ORDER, 3),
    "experts.data_order.score.epochs": (ORDER, 4),
    "experts.optimizer.beta1": (ADAM, 0.5),
    "experts.optimizer.beta2": (ADAM, 0.5),
    "experts.optimizer.epsilon": (ADAM, 0.5),
    "experts.optimizer.rho": (GSAM, 0.5),
    "experts.optimizer.alpha": (GSAM, 0.5),
    "synthetic.init.features": (REPRESENTATIVE, "logits"),
    "synthetic.init.clusters": (REPRESENTATIVE, 1),
    "synthetic.init.expert": (REPRESENTATIVE, 1),
    "synthetic.init.experts": (CORRECT, 2),
    "synthetic.init.never_learned": ('synthetic.init={name="forgetting"}', "left_out"),
    "synthetic.labels.lr": (LEARNED, 2.0),
    "synthetic.labels.momentum": (LEARNED, 0.5),
    "synthetic.labels.experts": (LEARNED, 2),
    "matching.start_range.reach": (NEAR, 2.0),
    "matching.start_range.first_bound": (GROWING, 3),
    "matching.start_range.iterations": (GROWING, 8),
}
"""Keys of only one of several alternative tables: the table that has it, and a changed value."""

OPTIONAL_TABLES = {
    "experts.smoothing.clipped_loss": "{}",
    "experts.smoothing.gradient_penalty": "{}",
    "matching.balanced_inner_loss": "{}",
    "matching.intermediate": "{}",
    "matching.perturbation": "{}",
    "matching.parameters": "{drop=0.25}",
    "experts.data_order": "{first_share=0.75, all_from_epoch=4, drop_from_epochs=[5], "
    "drop_shares=[0.25]}",
    "matching.gradient_limit": "{norm=1.0}",
    "evaluation.full_data": "{}",
}


NEEDED_BY = {
    "dataset.split_seed": ["dataset.validation=0.25"],
    "dataset.classes": ["matching.batch_syn=2"],
    "synthetic.init.never_learned": ["trajectory=sgd", "matching.max_start_epoch=4"],
}
"""Overrides without which a key has no effect or is not allowed."""


def plan_with(facts, *overrides):
    path = GOLDEN / "valid" / "convex.toml"
    options = ["matching.expert_epochs=2", *overrides]
    return compile_spec(load_spec(path, options).spec, facts, MACHINE)


@pytest.mark.parametrize(
    "key", [*(key for key, value in CHANGES.items() if value is not None), *OF_ALTERNATIVES]
)
def test_every_key_reaches_the_plan(key, digits_facts):
    """A key of an optional table is changed within that table, not together with it."""
    if key in OF_ALTERNATIVES:
        first, value = OF_ALTERNATIVES[key]
        compares = first.startswith("matching={objective=")
        before = [first, *(COMPARES_IMAGES if compares else ())]
    else:
        above, value = key.rpartition(".")[0], CHANGES[key]
        before = [f"{above}={OPTIONAL_TABLES[above]}"] if above in OPTIONAL_TABLES else []
    if MATCHING["kernel"] in before:
        before += REGRESSION
    before += NEEDED_BY.get(key, [])
    old = plan_with(digits_facts, *before)
    new = plan_with(digits_facts, *before, f"{key}={json.dumps(value)}")
    assert old.digest != new.digest


def test_every_departure_from_a_paper_is_named():
    """Every reading has a default, and a spec at all defaults departs from none."""
    loaded = load_spec(GOLDEN / "valid" / "minimal.toml")
    assert deviations(loaded.spec) == ()
    code = [
        "experts.smoothing.gradient_penalty={weight=2.0, norm='pixel', input='clean'}",
        "experts.smoothing.clipped_loss={epochs=10}",
        "matching.student_momentum=0.9",
        "matching.perturbation={scale='elementwise', rho=1.0}",
        "trajectory.type=convex",
        "trajectory.waypoints=4",
        "matching.gradient=tesla",
    ]
    departures = {
        d.key: d for d in deviations(load_spec(GOLDEN / "valid" / "minimal.toml", code).spec)
    }
    assert set(departures) == {
        "experts.smoothing.clipped_loss.epochs",
        "experts.smoothing.gradient_penalty.weight",
        "experts.smoothing.gradient_penalty.norm",
        "experts.smoothing.gradient_penalty.input",
        "trajectory.waypoints",
        "matching.student_momentum",
        "matching.perturbation.rho",
        "matching.perturbation.scale",
        "matching.gradient",
    }
    adjusted = [*code, "matching.balanced_inner_loss={log_base=2.718}"]
    more = deviations(load_spec(GOLDEN / "valid" / "minimal.toml", adjusted).spec)
    assert "matching.balanced_inner_loss.log_base" in {d.key for d in more}
    gradient = [d.source for d in more if d.key == "matching.gradient"]
    assert [source.split()[0] for source in gradient] == ["AST", "MCT"]
    assert departures["experts.smoothing.gradient_penalty.norm"].paper == '"sample"'
    assert "AST" in departures["experts.smoothing.clipped_loss.epochs"].source


def test_parameters_left_out_by_error_or_without_the_exact_gradient_depart_from_pad():
    asked = ["matching.parameters={drop=0.5, by='error'}", "matching.gradient=tesla"]
    departures = deviations(load_spec(GOLDEN / "valid" / "minimal.toml", asked).spec)
    assert [(d.key, d.paper, d.source.split()[0]) for d in departures] == [
        ("matching.parameters.by", '"depth"', "PAD"),
        ("matching.gradient", '"exact"', "PAD"),
    ]


def test_no_key_was_forgotten_above():
    leaves = {
        path
        for path, key in catalogue().items()
        if not key.is_table and not path.startswith("expect")
    }
    assert leaves == set(CHANGES) | set(OF_ALTERNATIVES) | ONE_VALUE_SO_FAR | OF_EXTENSIONS


def test_bezier_curves_depart_from_no_reading_of_their_paper():
    options = ["trajectory.type=bezier", "trajectory.epochs=9", "matching.gradient=tesla"]
    assert deviations(load_spec(GOLDEN / "valid" / "minimal.toml", options).spec) == ()


def test_option_extends_a_table_given_by_its_name_alone():
    text = (
        'ddspec = 1\nname = "x"\ntrajectory = "convex"\n[dataset]\nname = "digits"\n[network]\n'
        'depth = 2\n[experts]\noptimizer = "adam"\n[synthetic]\nipc = 1\n'
    )
    options = ["trajectory.spacing=uniform", "experts.optimizer.beta1=0.5"]
    spec = parse_spec(text, "x.toml", options).spec
    assert (spec.trajectory.type, spec.trajectory.spacing) == ("convex", "uniform")
    assert (spec.experts.optimizer.name, spec.experts.optimizer.beta1) == ("adam", 0.5)
    assert spec.experts.optimizer.lr == 0.001


def test_schema_offers_a_name_alone_only_if_the_table_needs_no_more():
    tables = json_schema()["$defs"]
    labels = tables["Synthetic"]["properties"]["labels"]["oneOf"][-1]
    starts = tables["TrajectoryMatching"]["properties"]["start_range"]["oneOf"][-1]
    assert labels == {"type": "string", "enum": ["expert", "hard"]}
    assert starts == {"type": "string", "enum": ["near_previous", "uniform"]}


def test_schema_knows_every_key_and_no_null():
    text = json.dumps(json_schema())
    assert '"null"' not in text
    for key in catalogue().values():
        assert f'"{key.name}"' in text


@given(st.floats(min_value=1e-9, max_value=1e6), st.integers(1, 131), st.integers(0, 2**63 - 1))
@settings(max_examples=50, deadline=None)
def test_spec_survives_toml_and_back(rate, ipc, seed):
    values = {
        "ddspec": 1,
        "name": "x",
        "seed": seed,
        "dataset": {"name": "digits"},
        "synthetic": {"ipc": ipc, "images": {"lr": rate}},
    }
    spec = Spec.model_validate(values)
    import tomli_w

    from ddspec.dsl.spec.experiment import resolved

    assert parse_spec(tomli_w.dumps(dict(resolved(spec))), "t").spec == spec


def test_key_of_another_choice_does_not_hide_a_missing_key_that_it_resembles():
    text = (
        'ddspec = 1\nname = "x"\n[dataset]\nname = "digits"\n[network]\ndepth = 2\n'
        '[synthetic]\nipc = 1\n[matching]\nobjective = "gradient"\nsyn_steps = 3\n'
    )
    with pytest.raises(SpecError) as caught:
        parse_spec(text, "x.toml")
    found = {(d.code, d.key) for d in caught.value.diagnostics}
    assert found >= {
        ("misplaced-key", "matching.syn_steps"),
        ("missing-key", "matching.outer_steps"),
        ("missing-key", "matching.network_epochs"),
    }
