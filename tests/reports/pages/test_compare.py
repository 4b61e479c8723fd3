"""The page of several runs: what differs and nothing else, tests, and refusals in words."""

import json
import re
from pathlib import Path

import pytest

from ddspec.dsl.diagnostics import RecordError
from ddspec.dsl.record.record import Record, WarningSign
from ddspec.reports.figures.line_chart import RunLine, line_chart, marked_points
from ddspec.reports.format import duration
from ddspec.reports.pages.compare import (
    ComparedRun,
    charts,
    comparison_cost_rows,
    comparison_gallery,
    comparison_html,
    comparison_limits,
    comparison_rows,
    headline,
    leaderboards_of,
    render_compare,
    seed_rows,
    spec_differences,
    with_labels,
    write_leaderboard,
)
from ddspec.reports.pages.compared_runs import label_value
from tests.reports.tables.test_leaderboard import judged_by

HOSTILE = "</script><script>alert(1)</script>"


@pytest.fixture
def runs(record: Record, everything: Record, images: dict[str, bytes]) -> list[ComparedRun]:
    return with_labels(
        [
            ComparedRun(run_record.name, run_record, images, "")
            for run_record in (record, everything)
        ]
    )


def moved(record: Record, by: float) -> Record:
    """The same run with other accuracies."""
    accuracy = record.results.accuracy
    assert accuracy is not None
    values = tuple(value + by for value in accuracy.values)
    other = accuracy.model_copy(update={"values": values, "mean": accuracy.mean + by})
    per_network = {"convnet": other}
    results = record.results.model_copy(update={"accuracy": other, "per_network": per_network})
    return record.model_copy(update={"results": results})


def test_differences_are_the_keys_whose_values_differ(runs: list[ComparedRun]):
    values = dict(spec_differences(runs))
    assert values["trajectory.type"] == ['"sgd"', '"convex"']
    assert values["trajectory.waypoints"] == ["\N{EN DASH}", "2"]
    assert values["matching.syn_steps"] == ["12", "10"]
    assert not [key for key in values if key.startswith(("name", "title", "expect"))]
    assert "dataset.name" not in values
    assert spec_differences([runs[0], runs[0]]) == []


def test_a_large_difference_is_called_one_and_a_small_one_is_not(
    record: Record, images: dict[str, bytes]
):
    several = [record, moved(record, 20.0), moved(record, 0.01)]
    first, far, near = comparison_rows(
        [ComparedRun(str(i), r, images, "") for i, r in enumerate(several)]
    )
    assert (first.verdict, first.difference, first.p) == ("", "", "")
    assert (far.verdict, far.difference) == ("differs", "+20.00")
    assert (near.verdict, near.difference) == ("no difference found", "+0.01")


def test_a_single_network_decides_nothing(record: Record, images: dict[str, bytes]):
    accuracy = record.results.accuracy
    assert accuracy is not None
    lone = accuracy.model_copy(update={"values": accuracy.values[:1], "n": 1})
    results = record.results.model_copy(update={"per_network": {"convnet": lone}})
    single = record.model_copy(update={"results": results})
    _, row = comparison_rows(
        [ComparedRun("a", record, images, ""), ComparedRun("b", single, images, "")]
    )
    assert (row.verdict, row.p) == ("not decidable", "")


def test_runs_of_one_name_are_told_apart(record: Record, everything: Record):
    named = with_labels(
        [
            ComparedRun(record.name, run_record, {}, "")
            for run_record in (record, everything, record)
        ]
    )
    labels = [run.label for run in named]
    assert len(set(labels)) == 3
    assert labels[1] == everything.plan.folder


def test_runs_of_one_name_are_called_by_the_settings_in_which_they_differ(
    record: Record, images: dict[str, bytes]
):
    seeds = [of_seed(record, seed) for seed in (0, 1)]
    runs = with_labels([ComparedRun(run.name, run, images, "") for run in seeds])
    assert [run.label for run in runs] == ["seed = 0", "seed = 1"]
    assert "differ in their seed alone" in headline(runs)


@pytest.mark.parametrize(
    ("value", "label"),
    [("10000000.0", "1e7"), ("0.01", "0.01"), ("123456", "123456"), ('"real"', '"real"')],
)
def test_label_has_a_number_as_short_as_it_can_be_written(value: str, label: str):
    assert label_value(value) == label


def test_previews_and_failed_runs_are_marked(record: Record, images: dict[str, bytes]):
    plan = record.plan.model_copy(update={"preview": ("x",)})
    sign = WarningSign(kind="at_chance", text="x")
    small = record.model_copy(update={"plan": plan, "name": "small", "warnings": (sign,)})
    runs = with_labels([ComparedRun(run.name, run, images, "") for run in (record, small)])
    assert [run.label for run in runs] == [record.name, "small (preview)"]

    of_results, of_previews = leaderboards_of(runs)
    assert "preview" not in of_results.judged
    assert of_previews.judged.endswith("previews, whose numbers say nothing about a method")
    assert '<strong class="warn sign">at chance</strong>' in comparison_html(runs)


def test_page_begins_with_what_came_out(record: Record, images: dict[str, bytes]):
    def pair(by: float) -> list[ComparedRun]:
        return [
            ComparedRun("a", record, images, ""),
            ComparedRun("b", moved(record, by), images, ""),
        ]

    mean = record.results.accuracy.mean
    words = f"b is 25.0 points above a, {mean + 25:.1f} against {mean:.1f}\N{NO-BREAK SPACE}%: the means"
    assert headline(pair(25.0)).startswith(f"{words} differ (p ")
    assert "no difference found (p = " in headline(pair(0.1))
    page = comparison_html(pair(25.0))
    assert f'<h1 class="sentence">{words}' in page
    three = [*pair(25.0), ComparedRun("c", moved(record, -25.0), images, "")]
    assert headline(three).startswith("The best mean is that of b")


def test_curves_lie_over_one_another_with_their_numbers(runs: list[ComparedRun]):
    by_name = {chart.name: chart for chart in charts(runs)}
    loss = {column.name: column.values for column in by_name["matching-loss"].columns}
    for run in runs:
        assert list(loss[run.label]) == list(run.record.series.matching_loss)
    assert all(chart.drawing for chart in by_name.values())
    assert [mark.text for mark in by_name["student-lr"].legend] == [run.label for run in runs]


def line_of(label: str, values: list[float]) -> RunLine:
    return RunLine(label, range(len(values)), values)


def test_lines_that_hide_one_another_are_named():
    lines = [line_of("a", [1.0, 2.0]), line_of("b", [1.0, 2.0]), line_of("c", [1.0, 3.0])]
    chart = line_chart("x", "x", "Of every iteration.", lines, "y", "iteration")
    assert chart.caption == "Of every iteration. Equal, so that one line hides the others: a; b."
    assert line_chart("x", "x", "Of two.", lines[1:], "y", "iteration").caption == "Of two."


def test_long_lines_have_markers_at_different_points():
    marked = [range(200)[marked_points(200, number)] for number in range(6)]
    assert all(8 <= len(points) <= 9 for points in marked)
    assert len({point for points in marked for point in points}) == sum(map(len, marked))
    assert range(12)[marked_points(12, 3)] == range(12)


def test_pictures_of_one_class_stand_side_by_side(runs: list[ComparedRun]):
    shown = comparison_gallery(runs)
    assert len(shown.classes) == 10
    assert [picture.caption for picture in shown.classes[3].pictures] == [r.label for r in runs]
    facts = runs[0].record.dataset.model_copy(update={"class_names": ("a",) * 10})
    other = runs[0].record.model_copy(update={"dataset": facts})
    assert comparison_gallery([runs[0], ComparedRun("x", other, runs[0].images, "")]).classes == ()


def test_cost_and_limits_say_what_is_known(runs: list[ComparedRun], record: Record):
    costs = dict(comparison_cost_rows(runs))
    (distilled,) = [step for step in record.steps if step.kind == "distill"]
    pace = distilled.seconds_when_made / len(record.series.matching_loss)
    assert costs["wall time in this run"][0] == duration(record.wall_seconds)
    made = sum(step.seconds_when_made for step in record.steps)
    assert costs["all steps, when made"][0] == duration(made)
    assert float(costs["seconds per iteration"][0]) == pytest.approx(pace, rel=1e-3)
    preview = record.model_copy(
        update={"plan": record.plan.model_copy(update={"preview": ("x",)}), "name": "small"}
    )
    limits = " ".join(comparison_limits([runs[0], ComparedRun("small", preview, {}, "")]))
    assert "Previews, whose numbers say nothing about a method: small." in limits


def laid(folder: Path, record: Record, images: dict[str, bytes]) -> Path:
    (folder / "images").mkdir(parents=True)
    (folder / "record.json").write_text(record.model_dump_json())
    for name, content in images.items():
        (folder / "images" / name).write_bytes(content)
    return folder


def test_page_is_written_again_but_never_over_something_else(
    tmp_path: Path, record: Record, everything: Record, images: dict[str, bytes]
):
    hostile = everything.model_copy(update={"title": HOSTILE, "name": "x"})
    folder = laid(tmp_path / "a", record, images)
    other = laid(tmp_path / "b", hostile, images)
    page = tmp_path / "compare.html"

    first = render_compare([folder, other], page).read_bytes()
    assert render_compare([folder, other], page).read_bytes() == first
    assert HOSTILE.encode() not in first
    for numbers in re.findall(rb'class="numbers">(.*?)</script>', first):
        json.loads(numbers)
    assert str(tmp_path).encode() not in first
    (tmp_path / "notes.html").write_text("mine")
    with pytest.raises(RecordError, match="was not written by ddspec compare"):
        render_compare([folder, other], tmp_path / "notes.html")
    assert (tmp_path / "notes.html").read_text() == "mine"


def test_what_is_no_pair_of_runs_is_refused(run_folder: Path, sweep_folder: Path):
    page = run_folder.parent / "compare.html"
    for folders, words in (
        ([run_folder], "only one run"),
        ([run_folder, run_folder], "named twice"),
        ([run_folder, sweep_folder], "is a sweep"),
        ([run_folder, run_folder.parent / "none"], "there is no folder"),
    ):
        with pytest.raises(RecordError, match=words):
            render_compare(folders, page)
    assert not page.exists()


def of_seed(record: Record, seed: int) -> Record:
    """The same run as if its spec had another seed."""
    resolved = record.resolved.replace("seed = 0", f"seed = {seed}", 1)
    assert seed == 0 or resolved != record.resolved
    return record.model_copy(update={"resolved": resolved})


def test_runs_that_differ_in_their_seed_alone_have_both_spreads(
    record: Record, everything: Record, images: dict[str, bytes]
):
    first, second = of_seed(record, 0), of_seed(moved(record, 2.0), 1)
    runs = [ComparedRun(name, r, images, "") for name, r in (("a", first), ("b", second))]
    (row,) = seed_rows([*runs, ComparedRun("other", everything, images, "")])
    accuracies = [r.results.per_network["convnet"] for r in (first, second)]
    assert row.entries == ("convnet", "a, b")
    assert (row.n, row.sets) == (str(sum(a.n for a in accuracies)), "2")
    assert row.accuracy == f"{(accuracies[0].mean + accuracies[1].mean) / 2:.2f}"
    assert row.std_over_sets == "1.00"


def test_repetition_with_the_same_seed_is_no_other_set(record: Record, images: dict[str, bytes]):
    runs = [ComparedRun(name, r, images, "") for name, r in (("a", record), ("b", record))]
    assert seed_rows(runs) == []


def test_runs_that_are_not_judged_alike_have_a_banner_and_no_difference(
    record: Record, images: dict[str, bytes]
):
    def pair(other: Record) -> list[ComparedRun]:
        return with_labels(
            [ComparedRun("a", record, images, ""), ComparedRun("b", other, images, "")]
        )

    assert "not judged alike" not in comparison_html(pair(record))
    unlike = pair(judged_by(record, protocol="ast"))
    page = comparison_html(unlike)
    assert page.index("These runs are not judged alike") < page.index('id="leaderboard"')
    assert page.count("<caption><span>digits, protocol") == 2
    assert {row.difference for row in comparison_rows(unlike)} == {""}


def test_leaderboard_is_written_by_the_suffix_of_its_file(tmp_path: Path):
    with pytest.raises(RecordError, match=r"written as \.md, \.tex, \.csv"):
        write_leaderboard([tmp_path / "a", tmp_path / "b"], tmp_path / "board.docx")
