"""Plans: golden ones, and the laws of their digests."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from ddspec.dsl.digest import canonical, differences, digest
from ddspec.dsl.facts.datasets import KNOWN
from ddspec.dsl.facts.machine import Machine
from ddspec.dsl.parsing.loader import load_spec, parse_spec
from ddspec.dsl.plan.compiler import compile_spec
from ddspec.dsl.plan.steps import Plan

VALID = Path(__file__).parents[1] / "golden" / "valid"
MACHINE = Machine("cpu", 2)


BASELINES = ("random-real-convnet", "random-real-expert-labels-convnet")


def plan(facts, path=VALID / "minimal.toml", *overrides, machine=MACHINE):
    return compile_spec(load_spec(path, overrides).spec, facts, machine)


def digests(plan):
    return {step.id: step.digest for step in plan.steps}


@pytest.mark.parametrize("path", sorted(VALID.glob("*.toml")), ids=lambda path: path.stem)
def test_plan_is_the_golden_one(path, golden, digits_facts):
    steps = plan(digits_facts, path)
    golden(path.with_suffix(".plan.json"), steps.model_dump_json(indent=1) + "\n")


def test_plan_survives_json(digits_facts):
    made = plan(digits_facts)
    assert Plan.model_validate_json(made.model_dump_json()) == made


def test_plan_with_a_changed_preimage_is_refused(digits_facts):
    values = json.loads(plan(digits_facts).model_dump_json())
    values["steps"][3]["preimage"]["settings"]["experts"]["count"] = 3
    with pytest.raises(ValidationError, match="digest"):
        Plan.model_validate(values)


def test_comments_order_and_defaults_written_out_change_no_digest(digits_facts):
    text = (VALID / "minimal.toml").read_text()
    other = "# a comment\n" + text.replace(
        "[synthetic]\nipc = 1\n",
        '[matching]\nsyn_steps = 20\n\n[synthetic]\nlabels = "hard"\nipc = 1\n',
    )
    assert other != text
    first, second = (
        compile_spec(parse_spec(t, "t").spec, digits_facts, MACHINE) for t in (text, other)
    )
    assert first == second


def test_machine_changes_routes_and_no_digest(digits_facts):
    on_cpu, on_gpu = plan(digits_facts), plan(digits_facts, machine=Machine("cuda", 16))
    assert digests(on_cpu) == digests(on_gpu)
    assert on_cpu.digest == on_gpu.digest
    assert on_cpu.steps[1].route != on_gpu.steps[1].route


@pytest.mark.parametrize(
    ("override", "unchanged"),
    [
        ("matching.syn_steps=3", {"dataset", "experts", "initialise", *BASELINES}),
        ("seed=1", {"dataset", "experts"}),
        ("experts.seed=1", {"dataset", "initialise", "random-real-convnet"}),
        (
            "experts.epochs=60",
            {"dataset", "experts", "initialise", "distill"}
            | {"evaluate-convnet", "random-real-convnet"},
        ),
        ("experts.count=7", {"dataset", "experts", "initialise", *BASELINES}),
        ("synthetic.init=representative", {"dataset", "experts", *BASELINES}),
        ("synthetic.labels=expert", {"dataset", "experts", *BASELINES}),
        ("experts.smoothing.clipped_loss={}", {"dataset", "initialise", "random-real-convnet"}),
        ("matching.intermediate={}", {"dataset", "experts", "initialise", *BASELINES}),
        ("matching.parameters.drop=0.5", {"dataset", "experts", "initialise", *BASELINES}),
        (
            "matching.iterations=9",
            {
                "dataset",
                "experts",
                "initialise",
                "distill",
                "evaluate-convnet",
                *BASELINES,
            },
        ),
        ("evaluation.epochs=9", {"dataset", "experts", "initialise", "distill"}),
        ("synthetic.images.lr=9", {"dataset", "experts", "initialise", *BASELINES}),
    ],
)
def test_a_key_renames_only_the_steps_that_depend_on_it(override, unchanged, digits_facts):
    before, after = (
        digests(plan(digits_facts)),
        digests(plan(digits_facts, VALID / "minimal.toml", override)),
    )
    assert {id for id in before if before[id] == after[id]} == unchanged


ORDER = "experts.data_order={first_share=0.75, all_from_epoch=20, score={networks=%d}}"


def test_scores_of_an_order_are_planned_before_the_experts_that_need_them(digits_facts):
    plain = plan(digits_facts)
    made = plan(digits_facts, VALID / "minimal.toml", ORDER % 3)
    assert [step.id for step in made.steps][:3] == ["dataset", "scores", "experts"]
    assert made.step("experts").needs == ("dataset", "scores")
    assert len(made.step("scores").members) == 3
    assert made.step("experts").digest != plain.step("experts").digest
    assert "scores" not in digests(plain)
    more = plan(digits_facts, VALID / "minimal.toml", ORDER % 5)
    shared = [m.digest for m in more.step("scores").members][:3]
    assert shared == [m.digest for m in made.step("scores").members]
    assert more.step("experts").digest != made.step("experts").digest
    assert Plan.model_validate_json(made.model_dump_json()) == made


def test_scores_are_planned_for_convexified_experts_and_for_no_others(digits_facts):
    convex = plan(digits_facts, VALID / "convex.toml", ORDER % 2)
    assert convex.step("trajectory").needs == ("dataset", "scores")
    without = (ORDER % 2, "matching.iterations=0", "evaluation.baselines=[]")
    assert not {"scores", "experts"} & set(
        digests(plan(digits_facts, VALID / "minimal.toml", *without))
    )


DISTILLED_BY = {
    "trajectory": ("matching.syn_steps=3", "experts.optimizer.lr=0.3", "experts.seed=1"),
    "gradient": ("matching.outer_steps=2", "matching.network_epochs=3", "matching.distance=cosine"),
    "distribution": ("matching.features=logits", "matching.statistic=characteristic"),
    "feature": ("matching.embedding_weight=0.5", "matching.student.lr=0.3"),
    "performance": (
        "matching.free_steps.most=3",
        "matching.student_optimizer=sgd",
        "matching.window=2",
    ),
}
REQUIRED = {
    "gradient": ("matching.outer_steps=1", "matching.network_epochs=1", "evaluation.lr=0.01"),
    "distribution": ("evaluation.lr=0.01",),
    "feature": ("evaluation.lr=0.01",),
    "performance": ("evaluation.lr=0.01", "matching.window=4"),
}
DISTILLED_BY_ALL = (
    *("network.depth=2", "network.width=64", "network.norm=none"),
    *("network.activation=swish", "network.pooling=max", "augmentation.families=[]"),
    *("synthetic.ipc=2", "synthetic.init=noise", "synthetic.images.lr=9.0", "seed=1"),
    *("compute.precision=tf32", "dataset.zca=true", "dataset.images_per_class=20"),
)


def cifar10_plan(*overrides):
    facts = KNOWN["cifar10"].model_copy(update={"fingerprint": "0" * 32})
    return plan(facts, VALID / "minimal.toml", "dataset.name=cifar10", *overrides)


@pytest.mark.parametrize("objective", DISTILLED_BY)
def test_whatever_changes_the_synthetic_set_renames_it(objective):
    base = [f"matching.objective={objective}", *REQUIRED.get(objective, ())]
    before = cifar10_plan(*base).distill.digest
    unchanged = [
        override
        for override in (*DISTILLED_BY_ALL, *DISTILLED_BY[objective])
        if cifar10_plan(*base, override).distill.digest == before
    ]
    assert unchanged == []


@pytest.mark.parametrize("objective", DISTILLED_BY)
def test_every_objective_may_begin_from_images_that_an_expert_chooses(objective):
    base = [f"matching.objective={objective}", *REQUIRED.get(objective, ())]
    made = cifar10_plan(*base, "synthetic.init=herding")
    assert made.trajectories is not None
    assert "experts" in made.initialise.needs
    assert Plan.model_validate_json(made.model_dump_json()) == made


def test_network_of_imported_experts_renames_whatever_they_are_used_for():
    # Imported parameters say nothing of activation and pooling, which have none.
    base = [f"experts.imported={'0' * 32}", "synthetic.init=representative", "trajectory=convex"]
    base += ["evaluation.networks=['mlp']", "evaluation.baselines=['random_real_expert_labels']"]
    before, after = cifar10_plan(*base), cifar10_plan(*base, "network.activation=swish")
    kept = {id for id, name in digests(before).items() if digests(after)[id] == name}
    assert kept == {"dataset", "trajectory"}


def test_more_experts_keep_the_names_of_those_before(digits_facts):
    few = plan(digits_facts, VALID / "minimal.toml", "experts.count=3").step("experts")
    many = plan(digits_facts, VALID / "minimal.toml", "experts.count=5").step("experts")
    assert many.members[:3] == few.members


def test_experts_run_no_further_than_windows_reach_but_the_first(digits_facts):
    experts = plan(
        digits_facts,
        VALID / "minimal.toml",
        "matching.max_start_epoch=2",
        "matching.expert_epochs=2",
    ).step("experts")
    # MTT's CIFAR-10 cell with one image per class: three epochs of fifty.
    assert [member.epochs for member in experts.members] == [50] + [3] * 99


def test_experts_whose_end_is_asked_for_run_to_it(digits_facts):
    overrides = {
        ("synthetic.init={name='representative', expert=3}",): {0, 3},
        ("synthetic.init={name='correct', experts=2}",): {0, 1},
        ("synthetic.labels={name='learned', lr=1.0, experts=3}",): {0, 1, 2},
        ("synthetic.init=herding",): {0},
    }
    for options, whole in overrides.items():
        experts = plan(digits_facts, VALID / "minimal.toml", "experts.count=5", *options)
        members = experts.step("experts").members
        assert {m.number for m in members if m.epochs == 50} == whole


@pytest.mark.parametrize("trajectory", ["sgd", "convex"])
def test_coreset_alone_trains_no_expert_but_the_one_it_asks(trajectory, digits_facts):
    made = plan(
        digits_facts,
        VALID / "minimal.toml",
        "matching.iterations=0",
        "synthetic.init=k_center",
        "experts.epochs=5",  # shorter than any window; none is drawn
        f"trajectory.type={trajectory}",
    )
    assert [member.number for member in made.trajectories.members] == [0]
    assert [member.number for member in made.step("distill").members] == [0]


def test_constants_of_projected_spacing_rename_the_trajectory(digits_facts):
    convex = VALID / "convex.toml"
    names = {
        option: plan(digits_facts, convex, option).step("trajectory").digest
        for option in (
            "trajectory.spacing=path",
            "trajectory.spacing=uniform",
            "trajectory.spacing=projected",
            "trajectory.neighbour_smoothing=true",
            "trajectory.waypoints=3",
        )
    }
    assert names["trajectory.spacing=path"] == names["trajectory.spacing=uniform"]
    assert len(set(names.values())) == 4


def test_statistics_of_the_public_code_are_those_it_copied():
    text = 'ddspec = 1\nname = "x"\n[dataset]\nname = "cifar100"\n[synthetic]\nipc = 1\n'
    facts = KNOWN["cifar100"].model_copy(update={"fingerprint": "0" * 32})
    ours, copied = (
        compile_spec(parse_spec(text, "x.toml", options).spec, facts, MACHINE).step("dataset")
        for options in ((), ("dataset.statistics=public_code",))
    )
    assert ours.facts.mean == KNOWN["cifar100"].mean
    assert (copied.facts.mean, copied.facts.std) == (KNOWN["cifar10"].mean, KNOWN["cifar10"].std)
    assert ours.digest != copied.digest


def test_convex_plan_keeps_two_models_and_no_snapshots(digits_facts):
    made = plan(digits_facts, VALID / "convex.toml")
    assert "experts" not in digests(made)
    step = made.step("trajectory")
    two_models = 2 * made.network_parameters * 4
    assert step.estimate.disk_bytes < len(step.members) * 2.5 * two_models


def test_spacing_is_read_from_what_is_stored_and_renames_no_trajectory(digits_facts):
    first = plan(digits_facts, VALID / "convex.toml")
    second = plan(digits_facts, VALID / "convex.toml", "trajectory.spacing=path")
    assert first.step("trajectory").digest == second.step("trajectory").digest
    assert first.step("distill").digest != second.step("distill").digest


def test_every_key_of_a_bezier_curve_but_its_sampling_renames_the_curve(digits_facts):
    names = {
        option: plan(digits_facts, VALID / "minimal.toml", "trajectory.type=bezier", option)
        for option in (
            "trajectory.epochs=5",
            "trajectory.epochs=0",
            "trajectory.optimizer=sgd",
            "trajectory.optimizer=adam",
            "trajectory.optimizer.lr=0.5",
            "experts.optimizer.lr=0.5",
            "trajectory.sampling=discrete",
        )
    }
    distilled = {made.distill.digest for made in names.values()}
    assert len(distilled) == len(names)
    curves = {option: made.step("trajectory").digest for option, made in names.items()}
    assert curves["trajectory.epochs=5"] == curves["trajectory.sampling=discrete"]
    assert len(set(curves.values())) == len(names) - 1


def test_curve_of_imported_experts_is_named_by_the_images_of_its_control_point(digits_facts):
    base = ("trajectory.type=bezier", f"experts.imported={'0' * 32}")
    first, *others = (
        plan(digits_facts, VALID / "minimal.toml", *base, *option).step("trajectory").digest
        for option in (
            (),
            ("augmentation.families=['crop']",),
            ("network.activation=swish",),
            ("dataset.images_per_class=20",),
        )
    )
    assert first not in others
    assert len(set(others)) == 3


def test_differences_are_followed_into_what_is_needed(digits_facts):
    old = plan(digits_facts)
    new = plan(
        digits_facts, VALID / "minimal.toml", "experts.optimizer.lr=0.5", "matching.syn_steps=3"
    )
    known = {step.digest: step.preimage for made in (old, new) for step in made.steps}
    changes = differences(
        new.step("evaluate-convnet").preimage, old.step("evaluate-convnet").preimage, known.get
    )
    # Defaults are left out of preimages: the old rate is absent.
    assert {(d.key, d.old, d.new) for d in changes} == {
        ("matching.syn_steps", None, 3),
        ("experts.optimizer.lr", None, 0.5),
    }


def test_table_at_its_defaults_is_a_difference(digits_facts):
    old, new = (
        plan(digits_facts),
        plan(digits_facts, VALID / "minimal.toml", "matching.intermediate={}"),
    )
    changes = differences(new.step("distill").preimage, old.step("distill").preimage, {}.get)
    assert [(d.key, d.old, d.new) for d in changes] == [("matching.intermediate", None, {})]


def test_canonical_json_does_not_know_the_order_of_keys():
    assert canonical({"b": 1, "a": {"d": [1.0], "c": None}}) == '{"a":{"c":null,"d":[1.0]},"b":1}'
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert len(digest({})) == 32


@pytest.mark.parametrize(
    "override", ['title="another"', "name=another", "evaluation.choose=best_on_test"]
)
def test_words_for_readers_rename_no_step(override, digits_facts):
    before, after = plan(digits_facts), plan(digits_facts, VALID / "minimal.toml", override)
    assert digests(before) == digests(after)


def evaluations(plan):
    return [step.id for step in plan.steps if step.kind == "evaluate"]


def test_baselines_that_read_experts_need_to_be_asked_for_if_distillation_reads_none(digits_facts):
    none = "matching.iterations=0"
    assert evaluations(plan(digits_facts)) == ["evaluate-convnet", *BASELINES]
    alone = plan(digits_facts, VALID / "minimal.toml", none)
    assert evaluations(alone) == ["evaluate-convnet", "random-real-convnet"]
    assert alone.trajectories is None
    asked = 'evaluation.baselines=["random_real_expert_labels"]'
    labelled = plan(digits_facts, VALID / "minimal.toml", none, asked)
    assert evaluations(labelled) == ["evaluate-convnet", "random-real-expert-labels-convnet"]
    assert [member.number for member in labelled.trajectories.members] == [0]


def test_no_expert_runs_past_the_windows_if_no_step_reads_its_end(digits_facts):
    made = plan(digits_facts, VALID / "minimal.toml", 'evaluation.baselines=["random_real"]')
    assert len({member.epochs for member in made.trajectories.members}) == 1


def test_baselines_change_no_digest_of_other_steps(digits_facts):
    before = digests(plan(digits_facts))
    for baselines in ("[]", '["random_real"]', '["full_data", "random_real"]'):
        after = digests(
            plan(digits_facts, VALID / "minimal.toml", f"evaluation.baselines={baselines}")
        )
        assert {id: after[id] for id in after if id in before}.items() <= before.items()


def test_full_data_is_one_baseline_however_it_is_asked_for(digits_facts):
    options = ("evaluation.full_data={}", 'evaluation.baselines=["random_real", "full_data"]')
    named = []
    for chosen in (options[:1], options[1:], options):
        made = plan(digits_facts, VALID / "minimal.toml", *chosen)
        named.append([s.digest for s in made.steps if s.id.startswith("full-data")])
    assert named[0] == named[1] == named[2]
    assert len(named[0]) == 1


@pytest.mark.parametrize("path", sorted(VALID.glob("*.toml")), ids=lambda path: path.stem)
def test_needs_are_the_steps_whose_digests_are_hashed(path, digits_facts):
    made = plan(digits_facts, path)
    ids = {step.digest: step.id for step in made.steps}
    experts = made.trajectories
    trained_by = {digest(experts.recipe.preimage): experts.id}
    for step in made.steps:
        hashed = [(trained_by | ids).get(name) for name in step.preimage["needs"].values()]
        # A trajectory step trains its experts itself, on the images.
        assert step.needs == tuple("dataset" if id == step.id else id for id in hashed)


def test_plan_whose_step_comes_before_its_needs_is_refused(digits_facts):
    values = json.loads(plan(digits_facts).model_dump_json())
    values["steps"].insert(0, values["steps"].pop(3))
    with pytest.raises(ValidationError, match="before one that it needs"):
        Plan.model_validate(values)
