"""Leaderboards: only sets judged alike, the best only if told apart, hostile names as text."""

import csv
import io

import pytest

from ddspec.dsl.record.record import Accuracy, Record
from ddspec.reports.tables.judging import differing_conditions, judged_alike
from ddspec.reports.tables.leaderboard import leaderboard, leaderboards_text


def accuracy(mean: float, network: str = "convnet", spread: float = 0.5) -> Accuracy:
    values = (mean - spread, mean, mean + spread)
    std = spread * (2 / 3) ** 0.5
    return Accuracy(
        mean=mean, std=std, n=3, values=values, network=network, choose="last", iteration=1
    )


def with_accuracies(record: Record, **means: float) -> Record:
    per_network = {name: accuracy(mean, name) for name, mean in means.items()}
    results = record.results.model_copy(update={"per_network": per_network})
    return record.model_copy(update={"results": results})


def judged_by(record: Record, **evaluation) -> Record:
    """A record whose sets were judged by another protocol."""
    steps = tuple(
        step.model_copy(update={"evaluation": step.evaluation.model_copy(update=evaluation)})
        if step.kind == "evaluate"
        else step
        for step in record.plan.steps
    )
    return record.model_copy(update={"plan": record.plan.model_copy(update={"steps": steps})})


def test_rows_are_sorted_by_the_networks_that_all_have(record: Record):
    first = with_accuracies(record, convnet=50, resnet18=90)
    second = with_accuracies(record, convnet=60)
    board = leaderboard(["first", "second"], [first, second], "digits")
    assert [row.label for row in board.rows] == ["second", "first"]
    assert board.heads == ("set", "ipc", "labels", "convnet", "resnet18", "mean", "worst")
    assert [(row.mean, row.worst) for row in board.rows] == [("", ""), ("70.00", "50.00")]
    assert board.rows[0].cells[1] is None


@pytest.mark.parametrize(("second", "marked"), [(60.2, []), (40.0, ["first"])])
def test_best_is_marked_only_if_it_is_told_apart(record: Record, second, marked):
    records = [with_accuracies(record, convnet=mean) for mean in (60.0, second, 39.0)]
    board = leaderboard(["first", "second", "third"], records, "digits")
    assert [row.label for row in board.rows if row.cells[0].best] == marked
    text = leaderboards_text([board], ".md")
    assert ("**60.00" in text) == bool(marked)


def test_single_networks_tell_nothing_apart(record: Record):
    lone = accuracy(60).model_copy(update={"n": 1, "std": 0.0, "values": (60.0,)})
    results = record.results.model_copy(update={"per_network": {"convnet": lone}})
    records = [
        record.model_copy(update={"results": results}),
        with_accuracies(record, convnet=10),
    ]
    board = leaderboard(["one", "other"], records, "digits")
    assert not any(row.cells[0].best for row in board.rows)


def test_runs_by_other_protocols_or_data_are_not_judged_alike(record: Record):
    other = judged_by(record, protocol="ast", epochs=7)
    facts = record.dataset.model_copy(update={"fingerprint": "0" * 32})
    elsewhere = record.model_copy(update={"dataset": facts})
    assert judged_alike([record, other, record, elsewhere]) == [[0, 2], [1], [3]]
    assert [name for name, _ in differing_conditions([record, other])] == ["protocol", "epochs"]
    assert differing_conditions([record, record]) == []


HOSTILE = "=cmd|' /C calc'!A0 & 50% _x_ \\input{/etc/passwd} <script> |\n~^#${}"


def test_hostile_labels_are_text_in_every_form(record: Record):
    scored = with_accuracies(record, convnet=50)
    board = leaderboard([HOSTILE, "b"], [scored, scored], "digits\nbad")
    markdown = leaderboards_text([board], ".md")
    assert len(markdown.strip().splitlines()) == 6
    assert "<script>" not in markdown
    latex = leaderboards_text([board], ".tex")
    assert r"\input{" not in latex
    assert latex.splitlines()[0] == "% digits bad"
    assert r"\textbackslash{}input\{/etc/passwd\}" in latex
    rows = list(csv.reader(io.StringIO(leaderboards_text([board], ".csv"))))
    assert len(rows) == 3
    assert rows[1][1].startswith("'=cmd")
    assert [row[5] for row in rows[1:]] == ["50", "50"]


def test_no_evaluation_makes_no_leaderboard(record: Record):
    assert leaderboard(["a"], [with_accuracies(record)], "digits") is None
