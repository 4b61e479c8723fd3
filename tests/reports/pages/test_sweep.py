"""The page of a sweep: gains against the right run, curves over numbers, strangers' text as text."""

import html
import re
from pathlib import Path

import pytest

from ddspec.dsl.diagnostics import RecordError
from ddspec.dsl.record.record import Record
from ddspec.dsl.record.seed_groups import group_of_sets
from ddspec.dsl.record.sweep import SweepRecord, SweptAxis
from ddspec.reports.figures.sweep import curves, every_run
from ddspec.reports.pages.sweep import (
    best_of_sweep,
    held_against,
    render_sweep,
    row_of,
    rows_of,
    summary,
    sweep_html,
)
from ddspec.reports.pages.sweep_parts import change_rows, contact_sheets_of, runs_beside


def test_a_case_is_held_against_the_one_it_goes_on_from_under_the_same_other_settings(
    sweep_record: SweepRecord,
):
    first, second, third, fourth = sweep_record.runs
    assert held_against(sweep_record, first) is None
    assert held_against(sweep_record, second) is first
    assert held_against(sweep_record, third) is first
    assert held_against(sweep_record, fourth) is third
    assert row_of(sweep_record, second).gain.startswith("+2.50")
    assert row_of(sweep_record, fourth).gain == ""


def test_summary_counts_runs_by_how_they_ended(sweep_record: SweepRecord):
    text = summary(sweep_record)
    assert "4 runs: 2 done, 1 diverged, 1 not run" in text
    assert "4\N{NO-BREAK SPACE}min" in text


def test_a_curve_is_drawn_over_numbers_alone(sweep_record: SweepRecord):
    (chart,) = curves(sweep_record)
    assert chart.title == "Test accuracy over matching.syn_steps"
    assert [row[0] for row in chart.shown_rows] == ["5", "8", "5"]
    words = [run.model_copy(update={"settings": {}}) for run in sweep_record.runs]
    assert curves(sweep_record.model_copy(update={"runs": tuple(words)})) == []


def test_a_sweep_that_has_not_begun_has_a_page(sweep_record: SweepRecord):
    waiting = tuple(
        run.model_copy(update={"accuracy": None, "random_real": None, "status": "not run"})
        for run in sweep_record.runs
    )
    waiting_record = sweep_record.model_copy(update={"runs": waiting})
    chart = every_run(waiting_record)
    assert "No run was evaluated yet." in sweep_html(waiting_record, [chart])
    assert chart.drawing is None


def test_what_strangers_write_is_text(sweep_record: SweepRecord):
    page = sweep_html(sweep_record, [*curves(sweep_record), every_run(sweep_record)])
    for written in ("<script>alert", "<img src=x", "# </script><b>", "a <number>"):
        assert written not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "--set seed=1" in page


@pytest.mark.parametrize("label", ["$\\frac{x$", "漢字 🦄", "a\nb", "&lt;"])
def test_labels_are_drawn_as_they_are_written(sweep_record: SweepRecord, label: str):
    runs = tuple(run.model_copy(update={"label": label}) for run in sweep_record.runs)
    chart = every_run(sweep_record.model_copy(update={"runs": runs}))
    assert html.unescape(chart.svg).count(label.partition("\n")[0]) >= 3


def test_page_says_what_each_case_changes(sweep_record: SweepRecord):
    plain, other = sweep_record.axes[1].entries
    runs = tuple(
        run.model_copy(
            update={
                "settings": {**run.settings, "trajectory": {"type": "convex", "spacing": "path"}}
            }
            if run.entries[1] == other
            else {"settings": {**run.settings, "trajectory": {"type": "convex"}}}
        )
        for run in sweep_record.runs
    )
    changed = sweep_record.model_copy(update={"runs": runs})

    assert change_rows(changed) == [
        (plain, "", ()),
        (other, plain, (("trajectory.spacing", '"path"'),)),
    ]
    page = sweep_html(changed, [])
    assert "<code>trajectory.spacing = &#34;path&#34;</code>" in page
    assert "nothing: the spec as it is" in page


def test_best_run_is_marked_and_waiting_runs_are_folded(sweep_record: SweepRecord):
    page = sweep_html(sweep_record, [])
    table = page[page.index("<tbody>") : page.index("</tbody>")]

    assert table.count("<tr") == 3
    assert table.count('<tr class="chosen">') == 1
    assert "62.50" in table[table.index('class="chosen"') :].partition("</tr>")[0]
    assert "1 not run yet" in page


def test_no_seed_of_a_sweep_over_seeds_is_called_the_best(sweep_record: SweepRecord):
    first, second = sweep_record.runs[:2]
    seeds = SweptAxis(name="seed", entries=("seed = 0", "seed = 1"))
    runs = tuple(
        run.model_copy(update={"entries": (entry,), "settings": {"seed": seed}, "after": None})
        for seed, (run, entry) in enumerate(zip((first, second), seeds.entries, strict=True))
    )
    group = group_of_sets((), [0, 1], [first.accuracy, second.accuracy])
    over = sweep_record.model_copy(update={"axes": (seeds,), "runs": runs, "groups": (group,)})

    assert best_of_sweep(over) == (
        "61.25\N{NO-BREAK SPACE}% over 2 seeds, with a standard deviation of 1.25 points over the "
        "sets."
    )
    assert not any(row.best for row in rows_of(over))
    assert '<th scope="col">gain</th>' not in sweep_html(over, [])


def test_page_is_the_same_when_rendered_twice(sweep_folder: Path):
    first = render_sweep(sweep_folder).read_bytes()
    assert render_sweep(sweep_folder).read_bytes() == first


@pytest.mark.parametrize("text", [None, "{", '{"format": 2}'])
def test_missing_or_damaged_record_is_refused_in_words(sweep_folder: Path, text):
    path = sweep_folder / "sweep.json"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(RecordError, match=r"sweep\.json"):
        render_sweep(sweep_folder)


@pytest.mark.parametrize(
    "folder", ["../../../etc", "..", ".", "a/b", "a\\b", "http://x", "", "//x"]
)
def test_folder_of_a_run_that_leads_elsewhere_is_not_linked_to(sweep_record, folder: str):
    assert row_of(sweep_record, sweep_record.runs[0]).address.startswith("../")
    run = sweep_record.runs[0].model_copy(update={"folder": folder})
    assert row_of(sweep_record, run).address == ""


@pytest.mark.parametrize("after", ["", "no such case"])
def test_case_without_an_axis_of_cases_is_refused_in_words(sweep_folder: Path, after: str):
    record = SweepRecord.model_validate_json((sweep_folder / "sweep.json").read_bytes())
    axes = tuple(axis.model_copy(update={"name": "key"}) for axis in record.axes)
    runs = tuple(run.model_copy(update={"after": after}) for run in record.runs)
    changed = record.model_copy(update={"axes": axes, "runs": runs})
    (sweep_folder / "sweep.json").write_text(changed.model_dump_json())
    with pytest.raises(RecordError, match="contradicts itself"):
        render_sweep(sweep_folder)


def test_another_seed_is_neither_a_gain_nor_a_point_on_a_curve(sweep_record: SweepRecord):
    """The first axis becomes that of the seed: gains are told between cases of the same seed."""
    steps, cases = sweep_record.axes
    seeds = steps.model_copy(update={"name": "seed"})
    runs = tuple(
        run.model_copy(update={"after": None, "settings": {"seed": 0}}) for run in sweep_record.runs
    )
    over_seeds = sweep_record.model_copy(update={"axes": (seeds, cases), "runs": runs})
    first, second, third, fourth = over_seeds.runs
    assert curves(over_seeds) == []
    assert held_against(over_seeds, first) is None
    assert first.entries[0] == second.entries[0] != third.entries[0]
    assert held_against(over_seeds, second) is first
    assert held_against(over_seeds, third) is None
    assert held_against(over_seeds, fourth) is third


def with_means(record: SweepRecord, *means: float) -> SweepRecord:
    """The sweep with runs of these mean accuracies, five networks each."""
    runs = []
    for run, mean in zip(record.runs, means, strict=True):
        values = tuple(mean + offset for offset in (-0.4, -0.2, 0.0, 0.2, 0.4))
        fields = {"mean": mean, "std": 0.08**0.5, "n": 5, "values": values}
        accuracy = next(r.accuracy for r in record.runs if r.accuracy).model_copy(update=fields)
        runs.append(run.model_copy(update={"accuracy": accuracy, "status": "done"}))
    return record.model_copy(update={"runs": tuple(runs)})


def test_gains_have_intervals_and_one_verdict_among_all(sweep_record: SweepRecord):
    rows = rows_of(with_means(sweep_record, 50.0, 50.3, 60.0, 60.0))
    assert re.fullmatch(r"\+0\.30 \N{PLUS-MINUS SIGN} 0\.\d\d", rows[1].gain)
    assert [row.verdict for row in rows[:3]] == ["", "no difference found", "differs"]


def test_best_run_is_named_with_those_it_cannot_be_told_from(sweep_record: SweepRecord):
    labels = [run.label for run in sweep_record.runs]
    apart = best_of_sweep(with_means(sweep_record, 50.0, 52.0, 54.0, 70.0))
    assert apart == (
        f"The best mean is that of {labels[3]}, 70.00\N{NO-BREAK SPACE}%, with a significant difference from every other run."
    )
    alike = best_of_sweep(with_means(sweep_record, 50.0, 50.0, 60.0, 60.1))
    assert alike.endswith(f"with no significant difference from {labels[2]}.")
    equal = best_of_sweep(with_means(sweep_record, 50.0, 50.0, 50.0, 50.1))
    assert equal.endswith("without a significant difference from any other run.")


def test_limits_speak_of_gains_only_where_there_are_gains(sweep_record: SweepRecord):
    words = "A gain that differs from zero"
    assert words in sweep_html(sweep_record, [])
    first = sweep_record.model_copy(update={"runs": sweep_record.runs[:1]})
    assert words not in sweep_html(first, [])


def test_runs_that_are_judged_differently_have_no_gain_but_a_banner(sweep_record: SweepRecord):
    assert "not judged alike" not in sweep_html(sweep_record, [])
    runs = list(with_means(sweep_record, 50.0, 52.0, 54.0, 70.0).runs)
    runs[1] = runs[1].model_copy(
        update={"settings": {**runs[1].settings, "evaluation.protocol": "ast"}}
    )
    mixed = sweep_record.model_copy(update={"runs": tuple(runs)})
    rows = rows_of(mixed)
    assert (rows[1].gain, rows[1].verdict) == ("", "not judged alike")
    assert rows[2].gain
    page = sweep_html(mixed, [])
    assert "These runs are not judged alike: they differ in evaluation.protocol." in page
    assert best_of_sweep(mixed) == ""


def test_images_and_curves_of_the_runs_beside_a_sweep_are_shown(
    sweep_folder: Path, sweep_record: SweepRecord, run_folder: Path, record: Record
):
    run = sweep_record.runs[0].model_copy(
        update={"folder": run_folder.name, "digest": record.plan.digest}
    )
    changed = sweep_record.model_copy(update={"runs": (run, *sweep_record.runs[1:])})
    (beside,) = runs_beside(sweep_folder, changed)
    (sheet,) = contact_sheets_of([beside])
    assert sheet.caption == run.label
    (sweep_folder / "sweep.json").write_text(changed.model_dump_json())
    page = render_sweep(sweep_folder).read_text()
    assert sheet.uri in page
    assert "Shown are 1 of 4 runs." in page

    other = run.model_copy(update={"digest": "2" * 32})
    assert runs_beside(sweep_folder, sweep_record.model_copy(update={"runs": (other,)})) == []
    (run_folder / "record.json").write_text("{")
    assert runs_beside(sweep_folder, changed) == []
