"""The status of a plan: what is left to do, and the reasons that a reader is told."""

import pytest

from ddspec.dsl.plan.steps import member_preimage
from ddspec.dsl.record.record import Outcome
from ddspec.dsl.spec.catalogue import catalogue
from ddspec.engine.run.status import (
    DivergenceNote,
    default_of,
    divergence_note,
    extent_note,
    known_divergence,
    may_be_absent,
    setting_text,
    step_states,
)
from ddspec.engine.store.provenance import Provenance
from ddspec.engine.store.store import Store
from tests.engine.stages.whole_steps import train_experts


def state_of(plan, store, kind):
    (state,) = (state for state in step_states(plan, store) if state.step.kind == kind)
    return state


def remember(plan, store):
    """Leave the preimages and extents of a plan in a store, as a run does."""
    for step in plan.steps:
        store.remember(step.preimage)
        store.note(extent_note(step), step.extent)
    store.remember(plan.trajectories.recipe.preimage)


def reasons(plan, store, kind):
    return [(reason.key, reason.text) for reason in state_of(plan, store, kind).reasons]


def test_an_empty_store_has_nothing_and_no_earlier_run(plan, tmp_path):
    made, store = plan(), Store(tmp_path / "empty")
    for state in step_states(made, store):
        assert state.missing == state.artifacts
        assert [reason.text for reason in state.reasons] == ["has not run with this store"]


def test_a_complete_step_has_no_reason_and_a_longer_one_names_the_key(context, plan):
    short = plan("matching.max_start_epoch=1")
    train_experts(short.step("experts"), context)
    remember(short, context.store)
    assert state_of(short, context.store, "experts").missing == ()
    assert reasons(short, context.store, "experts") == []

    more = plan("matching.max_start_epoch=1", "experts.count=5")
    state = state_of(more, context.store, "experts")
    assert [artifact.number for artifact in state.missing] == [3, 4]
    assert ("experts.count", "experts.count 3 -> 5") in reasons(more, context.store, "experts")

    longer = plan("matching.max_start_epoch=3")
    missing = state_of(longer, context.store, "experts").missing
    # Expert 0 has run to its end in any case.
    assert [(artifact.number, artifact.have, artifact.want) for artifact in missing] == [
        (1, 1, 3),
        (2, 1, 3),
    ]


def test_a_changed_setting_is_named_with_both_values(plan, tmp_path):
    store = Store(tmp_path / "store")
    remember(plan(), store)
    assert reasons(plan("matching.syn_steps=7"), store, "distill") == [
        ("matching.syn_steps", "matching.syn_steps 3 -> 7")
    ]
    # The earlier run had the default, which is not in its preimage.
    assert reasons(plan("experts.batch_size=128"), store, "experts") == [
        ("experts.batch_size", "experts.batch_size 256 -> 128")
    ]


def test_of_several_earlier_runs_the_most_similar_one_is_compared(plan, tmp_path):
    store = Store(tmp_path / "store")
    remember(plan("matching.syn_steps=5", "seed=3", "synthetic.ipc=2"), store)
    remember(plan("matching.syn_steps=5"), store)
    remember(plan("matching.syn_steps=6", "seed=4", "synthetic.ipc=4"), store)
    assert reasons(plan(), store, "distill") == [
        ("matching.syn_steps", "matching.syn_steps 5 -> 3")
    ]


def test_a_step_that_was_stopped_or_deleted_says_so(plan, tmp_path):
    store, made = Store(tmp_path / "store"), plan()
    step = made.step("distill")
    store.remember(step.preimage)
    assert reasons(made, store, "distill") == [("", "was stopped before it was complete")]
    store.note(extent_note(step), step.extent)
    assert reasons(made, store, "distill") == [("", "is not in the store any more")]


@pytest.mark.parametrize("at", [None, 3, 7, 12])
def test_a_divergence_is_known_if_all_that_is_missing_lies_after_it(plan, tmp_path, at):
    """Artifacts up to iteration `at` can be made; those after it diverge again."""
    store = Store(tmp_path / "store")
    step = plan("evaluation.every=5").step("distill")
    note = DivergenceNote(
        outcome=Outcome(status="diverged", cause="the loss is not finite"), at=at, expert=None
    )
    store.note(divergence_note(step), note.model_dump(mode="json"))
    missing = state_of(plan("evaluation.every=5"), store, "distill").missing
    assert [artifact.number for artifact in missing] == [0, 5, 10, 12]
    for first in range(len(missing) + 1):
        left = missing[first:]
        met = at is None or all(artifact.number > at for artifact in left)
        assert (known_divergence(step, left, store) is not None) == met


def test_a_damaged_note_of_a_divergence_is_ignored(plan, tmp_path):
    store = Store(tmp_path / "store")
    step = plan().step("distill")
    store.note(divergence_note(step), {"outcome": "diverged", "at": 1})
    assert known_divergence(step, (), store) is None


def test_a_divergence_is_the_only_reason_and_names_the_way_to_try_again(plan, tmp_path):
    store, made = Store(tmp_path / "store"), plan()
    note = DivergenceNote(
        outcome=Outcome(status="diverged", cause="student_lr became -1"), at=None, expert=None
    )
    store.note(divergence_note(made.step("distill")), note.model_dump(mode="json"))
    ((key, text),) = reasons(made, store, "distill")
    assert key == ""
    assert "student_lr became -1" in text and "--retry" in text


def test_an_artifact_of_another_run_completes_a_step(context, plan):
    made = plan()
    member = made.step("distill").members[0]
    before = state_of(made, context.store, "distill").missing
    arrays = {"images": context.data.train_images[:1].numpy()}
    preimage = member_preimage(made.step("distill").preimage, member.number)
    context.store.put("synthetic", preimage, arrays, Provenance())
    after = state_of(made, context.store, "distill").missing
    assert {artifact.digest for artifact in before} - {a.digest for a in after} == {member.digest}


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("matching.syn_steps", 20, "20"),
        ("network.norm", "instance", '"instance"'),
        ("dataset.zca", True, "true"),
        ("images.lr", 1000.0, "1000"),
        ("images.lr", 1e-7, "1e-07"),
        ("augmentation.families", ["flip", "crop"], "[flip, crop]"),
        ("matching.perturbation", {}, "{}"),
        ("matching.perturbation.rho", None, "not set"),
        ("matching.loss_limit", None, "absent"),
        ("needs.experts", "0123abcd", "0123abcd"),
    ],
)
def test_a_setting_reads_as_in_a_spec(key, value, text):
    assert setting_text(key, value) == text


def test_a_missing_setting_reads_as_its_default():
    """It reads the same whether an earlier run wrote the default or left it out."""
    checked = 0
    for key, entry in catalogue().items():
        default = default_of(key)
        if not (entry.is_table or entry.required or may_be_absent(key, ()) or default is None):
            assert setting_text(key, None) == setting_text(key, default), key
            checked += 1
    assert checked > 30
    assert setting_text("network.depth", None) == "3"
    assert setting_text("network.depth", None, {"network.name"}) == "not set"


def test_step_that_is_like_no_earlier_one_is_not_compared(context, plan):
    """A list of thirty keys tells nothing of another experiment."""
    remember(plan(), context.store)
    other = plan(
        *("synthetic.ipc=2", "synthetic.init=noise", "synthetic.images={lr=0.1, momentum=0.1}"),
        *("augmentation.families=['crop']", "experts.seed=3", "experts.optimizer.lr=0.3"),
        *("matching.syn_steps=3", "matching.student_momentum=0.5", "matching.min_start_epoch=1"),
    )
    ((key, text),) = reasons(other, context.store, "distill")
    assert (key, text) == ("", "nothing like it has run with this store")
    named = reasons(plan("synthetic.images={lr=0.1, momentum=0.1}"), context.store, "distill")
    assert [key for key, _ in named] == ["synthetic.images.lr", "synthetic.images.momentum"]
