import pytest

from ddspec.dsl.record.record import Accuracy, Record, Sitting, StepCost
from ddspec.dsl.spec.evaluation import Expectation
from ddspec.reports import format as units
from ddspec.reports.tables import costs
from ddspec.reports.tables import results as tables
from ddspec.reports.tables import summary as verdict
from ddspec.reports.tables.caveats import caveats
from ddspec.reports.tables.resolved import resolved_rows


def accuracy(*values: float) -> Accuracy:
    mean = sum(values) / len(values)
    std = (sum((value - mean) ** 2 for value in values) / len(values)) ** 0.5
    return Accuracy(
        mean=mean,
        std=std,
        n=len(values),
        values=values,
        network="convnet",
        choose="last",
        iteration=300,
    )


def test_single_network_has_no_std_and_no_interval():
    row = tables.result_row(accuracy(61.0), "distilled", True)

    assert (row.mean, row.std, row.interval) == ("61.00", "", "")


def test_result_table_has_both_choices_and_the_baseline(record: Record):
    rows = tables.result_rows(record)

    assert [row.result for row in rows] == [True, False, False, False, False]
    assert rows[0].mean == units.fixed(record.results.last.mean)
    assert "maximum of 3 evaluations" in rows[1].subject
    assert "before the first iteration" in rows[2].subject
    assert rows[3].mean == units.fixed(record.results.random_real["convnet"].mean)
    soft = record.results.random_real_expert_labels["convnet"]
    assert rows[4].mean == units.fixed(soft.mean)
    assert "soft labels of expert 0" in rows[4].subject
    assert rows[0].values.count(",") == record.results.last.n - 1


def test_initial_set_is_no_result_of_distillation(record: Record):
    only_initial = tuple(e for e in record.evaluations if e.iteration == 0)

    rows = tables.result_rows(record.model_copy(update={"evaluations": only_initial}))

    assert [row.result for row in rows] == [False, False, False]


def test_interval_of_a_share_stays_between_none_and_all(record: Record):
    wide = record.results.last.model_copy(update={"mean": 33.3, "std": 40.0, "n": 2})

    assert tables.result_row(wide, "two networks", True).interval == "0.00 to 100.00"


def test_unevaluated_run_has_no_result_rows(record: Record):
    bare = record.model_copy(
        update={
            "evaluations": (),
            "results": record.results.model_copy(
                update={"random_real": {}, "random_real_expert_labels": {}}
            ),
        }
    )

    assert tables.result_rows(bare) == []
    assert any("the gain over them is not known" in caveat for caveat in caveats(bare))


def test_guards_are_counted_where_a_spec_has_them(record: Record, everything: Record):
    assert tables.guard_rows(record) == []
    rows = dict(tables.guard_rows(everything))
    total = len(everything.series.guarded)
    skipped, clipped = (everything.series.guarded.count(value) for value in (2, 1))
    assert skipped and clipped
    assert rows == {
        "updates skipped (loss above 1)": f"{skipped} of {total} iterations",
        "gradients clipped to a norm of 2": f"{clipped} of {total} iterations",
        "updates in which student_lr was held above zero": f"1 of {total} iterations",
    }


def test_departures_from_the_papers_are_named(record: Record, everything: Record):
    assert tables.deviation_rows(record) == []
    keys = {row[0]: row[1:3] for row in tables.deviation_rows(everything)}
    assert keys == {
        "experts.smoothing.clipped_loss.epochs": ("10", "5"),
        "experts.smoothing.gradient_penalty.norm": ('"pixel"', '"sample"'),
    }


def test_accuracy_that_was_not_reached_says_so(record: Record):
    assert [row[2] for row in tables.reached_rows(record)] == ["0", "not reached"]


def test_published_number_stands_with_source_difference_and_test(record: Record):
    (row,) = tables.expectation_rows(record.compared)

    assert row.source == "Invented et al., Table 0"
    assert (
        row.published == "71.30\N{NO-BREAK SPACE}\N{PLUS-MINUS SIGN}\N{NO-BREAK SPACE}1.10 (n = 5)"
    )
    assert row.difference == units.signed(record.results.best_on_test.mean - 71.3)
    assert row.verdict == record.compared[0].verdict
    assert row.test.startswith("Welch's test")


def test_published_number_without_spread_shows_none(record: Record):
    expectation = Expectation(accuracy=70.0, source="somewhere")
    compared = record.compared[0].model_copy(update={"expectation": expectation})

    assert tables.expectation_row(compared).published == "70.00"


def test_gain_is_result_minus_baseline(record: Record):
    head = verdict.summary_of(record)
    gain = record.results.accuracy.mean - record.results.random_real["convnet"].mean

    assert head.gain.startswith(f"{gain:+.1f} \N{PLUS-MINUS SIGN} ")
    initial = next(e for e in record.evaluations if e.subject == "distilled" and not e.iteration)
    over = record.results.accuracy.mean - sum(initial.values) / len(initial.values)
    assert head.gain_over_initial.startswith(f"{over:+.1f} \N{PLUS-MINUS SIGN} ")


def test_costs_add_up_and_tell_reuse(record: Record):
    rows = {row.id: row for row in costs.cost_rows(record.steps)}

    assert rows["experts"].status == "partly reused (5 of 8 found)"
    assert "another route" in rows["experts"].route
    total = sum(step.seconds for step in record.steps)
    alone = record.model_copy(update={"sittings": ()})
    assert costs.cost_total(alone).wall_time == units.duration(total)


def test_time_in_which_two_steps_ran_counts_once(record: Record):
    cost = StepCost(seconds=300.0, memory_bytes=0, computed=1)
    older = Sitting(
        date=record.date,
        environment=record.environment,
        status="done",
        steps={"distill": cost, "evaluate-convnet": cost},
    )
    newer = older.model_copy(update={"seconds": 500.0})
    both = record.model_copy(update={"sittings": (older, newer)})
    assert costs.cost_total(both).wall_time == units.duration(1100.0)
    rows = costs.sitting_rows(both)
    assert [row[1] for row in rows] == [units.duration(600.0), units.duration(500.0)]


def test_route_of_a_step_is_told(record: Record):
    step = next(step for step in record.steps if step.kind == "distill")
    assert costs.step_route(step) == "cpu, 1 thread, graphs recomputed"
    route = step.route.model_copy(
        update={"threads": 1, "networks": 5, "keep_every": 8, "recorded": True}
    )
    other = step.model_copy(update={"route": route, "processes": 2, "mixed_routes": True})
    assert costs.step_route(other) == (
        "cpu, 1 thread, 2 processes, 5 networks at once, graphs recomputed, "
        "1 of 8 parameter vectors kept, CUDA graphs, some artifacts by another route"
    )


def test_storage_share_is_stored_by_full(record: Record):
    share = 100 * record.storage.stored / record.storage.full

    assert dict(costs.storage_rows(record))["stored share"].startswith(f"{share:.3g} %")


def test_digest_table_names_what_each_step_needs(record: Record):
    rows = {row.id: row for row in tables.digest_rows(record.plan)}

    assert rows["distill"].needs == "experts, initialise"
    assert rows["distill"].digest == record.plan.step("distill").digest


def test_every_resolved_value_has_meaning_and_origin(record: Record):
    rows = {row.key: row for row in resolved_rows(record)}
    line = rows["matching.iterations"].line

    assert all(row.meaning for row in rows.values())
    assert record.spec.split("\n")[line - 1] == "iterations = 300"
    assert rows["matching.syn_steps"].origin == "--set"
    assert rows["matching.syn_steps"].value == "12"
    assert rows["experts.optimizer.weight_decay"].origin == "spec"
    assert rows["synthetic.init.name"].line == rows["synthetic.ipc"].line + 1
    assert rows["expect[1].source"].value == '"Invented et al., Table 0"'


def test_key_left_out_of_the_spec_is_a_default(record: Record):
    without = record.model_copy(update={"spec": record.spec.replace("every = 100\n", "")})
    rows = {row.key: row for row in resolved_rows(without)}

    assert (rows["evaluation.every"].origin, rows["evaluation.every"].line) == ("default", None)


def test_command_repeats_the_overrides_as_a_shell_reads_them(record: Record):
    options = ("--set matching.syn_steps=12", "title=two words; rm -rf $HOME")
    command = tables.rerun_command(record.model_copy(update={"overrides": options}))

    assert command == (
        "ddspec run digits_ipc1.toml --set matching.syn_steps=12 "
        "--set 'title=two words; rm -rf $HOME'"
    )


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (59.97, "1 min 00 s"), (3599.7, "1 h 00 min")]
)
def test_durations_never_show_sixty(seconds, text):
    assert units.duration(seconds).replace("\N{NO-BREAK SPACE}", " ") == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (999_600, "1.0 MB"), (12.3e9, "12.3 GB")],
)
def test_sizes_are_in_decimal_units(count, text):
    assert units.size(count).replace("\N{NO-BREAK SPACE}", " ") == text


def with_plan(record: Record, **changes: object) -> Record:
    """The record with something else in its plan."""
    return record.model_copy(update={"plan": record.plan.model_copy(update=changes)})


def test_preview_says_so_in_its_facts_and_runs_again_from_its_resolved_values(record: Record):
    small = with_plan(record, preview=("experts.count: 8 -> 3",))
    assert ("preview", "yes: shrunk to minutes") in verdict.facts(small)
    assert tables.rerun_command(small) == "ddspec run resolved.toml"
    assert not any(name == "preview" for name, _ in verdict.facts(record))


def test_choice_by_held_out_images_and_all_real_ones_are_rows_where_there_are_any(record: Record):
    subjects = [row.subject for row in tables.result_rows(record)]
    assert not any("held-out" in subject for subject in subjects)
    held_out = tuple(
        e.model_copy(update={"validation": tuple(100.0 - v for v in e.values)})
        for e in record.evaluations
    )
    whole = {"convnet": record.results.random_real["convnet"]}
    results = record.results.model_copy(update={"full_data": whole})
    changed = record.model_copy(update={"evaluations": held_out, "results": results})
    rows = {row.subject: row for row in tables.result_rows(changed)}
    assert "distilled, the best iterate on held-out images" in rows
    worst = min(float(row.mean) for subject, row in rows.items() if "distilled" in subject)
    assert float(rows["distilled, the best iterate on held-out images"].mean) == worst
    assert "all 1,347 real images" in rows


def test_improvement_and_recovery_compare_like_with_like(record: Record, everything: Record):
    accuracy = record.results.accuracy
    random = record.results.random_real["convnet"]
    (what, points), *_ = tables.ranking_rows(record)
    assert what == "improvement over random images, hard labels (IOR)"
    assert points.startswith(units.signed(accuracy.mean - random.mean) + " \N{PLUS-MINUS SIGN} ")
    whole = accuracy.model_copy(update={"mean": 97.0})
    results = record.results.model_copy(update={"full_data": {"convnet": whole}})
    rows = dict(tables.ranking_rows(record.model_copy(update={"results": results})))
    recovery = rows["left to all real images, hard labels (HLR)"]
    assert recovery.startswith(units.signed(97.0 - accuracy.mean))
    assert "label-robust score of DD-Ranking, w = 0.5 (percent)" in rows
    soft = everything.results.random_real_expert_labels["convnet"]
    (what, points), *_ = tables.ranking_rows(everything)
    assert what == "improvement over random images, soft labels (IOR)"
    assert points.startswith(units.signed(everything.results.accuracy.mean - soft.mean))


def test_one_set_is_not_held_against_the_mean_over_several(record: Record):
    comparison = record.compared[0]
    assert tables.expectation_rows([comparison])[0].difference
    over = comparison.expectation.model_copy(update={"over": "sweep"})
    several = comparison.model_copy(update={"expectation": over})
    assert tables.expectation_rows([several])[0].difference == ""
