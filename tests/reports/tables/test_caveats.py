"""Caveats: what may change a reader's conclusion, and nothing that every run says."""

from ddspec.dsl.record.record import Outcome, Record
from ddspec.reports.tables.caveats import caveats, limits


def with_changes(record: Record, **changes: object) -> Record:
    return record.model_copy(update=changes)


def test_a_run_as_planned_has_the_caveat_of_its_one_seed_alone(record: Record):
    series = record.series.model_copy(update={"guarded": (0,) * 300})
    (caveat,) = caveats(with_changes(record, series=series))

    assert caveat.startswith("One seed: the spread is over 4 networks trained on one synthetic set")


def test_a_maximum_over_the_test_set_is_said_with_its_evaluations(record: Record):
    results = record.results.model_copy(update={"accuracy": record.results.best_on_test})
    texts = caveats(with_changes(record, results=results))
    distilled = [e for e in record.evaluations if e.subject == "distilled" and e.iteration]

    assert any(f"a maximum over {len(distilled)} evaluations" in text for text in texts)
    assert not any("a maximum over" in text for text in caveats(record))


def test_what_did_not_go_as_planned_is_a_caveat(record: Record):
    evaluations = tuple(
        e.model_copy(update={"ran_away": 1 if number == 0 else 0})
        for number, e in enumerate(record.evaluations)
    )
    stopped = with_changes(record, outcome=Outcome(status="interrupted"), evaluations=evaluations)
    text = " ".join(caveats(stopped))

    assert "did not end as planned" in text
    trained = sum(len(e.values) for e in evaluations)
    assert f"1 of {trained} evaluated networks diverged" in text
    assert "The limits skipped 1 of 300 updates." not in " ".join(limits(stopped))


def test_a_preview_that_held_the_learning_rate_says_that_the_full_run_stops(record: Record):
    plan = record.plan.model_copy(
        update={"preview": ("synthetic.student_lr.positivity: stop -> hold",)}
    )
    text = " ".join(caveats(with_changes(record, plan=plan)))

    assert "held student_lr above zero in iteration 3, where the full run would stop" in text
    assert "student_lr" not in " ".join(caveats(record))
