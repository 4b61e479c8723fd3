import csv
import io
import json
import random
import re

import pytest

from ddspec.dsl.record.record import Record
from ddspec.dsl.record.series import COUNTED_SERIES, Series
from ddspec.dsl.spec.objectives.trajectory import MatchedParameters
from ddspec.reports.figures import experts as expert_figures
from ddspec.reports.figures import ingredients, svg
from ddspec.reports.figures import run as figures
from ddspec.reports.figures.chart import SHOWN_ROWS, Chart, numbers_csv, numbers_json
from ddspec.reports.figures.class_matching import class_matching_charts
from ddspec.reports.figures.plan_graph import plan_chart
from ddspec.reports.figures.strip_chart import label_lines, networks_chart
from ddspec.reports.format import evenly_spaced_indices

EMPTY = Series.model_validate({name: () for name in Series.model_fields})
COUNTS = dict.fromkeys(COUNTED_SERIES, 0) | {"matched_step": 4}
POINT = Series.model_validate({name: (COUNTS.get(name, 0.9),) for name in Series.model_fields})


def every_chart(record: Record) -> list[Chart]:
    return [
        *figures.accuracy_charts(record),
        *figures.outer_loop_charts(record),
        *expert_figures.expert_charts(record),
        *ingredients.inner_loop_charts(record),
        *class_matching_charts(record),
        *expert_figures.path_accuracy_charts(record),
        *ingredients.cluster_charts(record),
        *ingredients.label_charts(record),
        networks_chart(record),
        plan_chart(record),
    ]


def names(chart: Chart) -> list[str]:
    return [column.name for column in chart.shown_columns]


def values(chart: Chart, name: str) -> list:
    return list(next(column.values for column in chart.columns if column.name == name))


def with_changes(record: Record, **changes: object) -> Record:
    return record.model_copy(update=changes)


@pytest.mark.parametrize(("name", "count"), [("record", 10), ("convex", 11), ("everything", 15)])
def test_every_figure_is_labelled_and_takes_its_colours_from_the_page(name, count, request):
    charts = every_chart(request.getfixturevalue(name))

    assert len(charts) == count
    for chart in charts:
        assert chart.svg.startswith('<svg class="chart" role="img" aria-label="')
        assert "var(--accent)" in chart.svg or chart.name == "inner-loss"
        assert re.findall(r"#[0-9a-fA-F]{6}", chart.svg) == []
        assert "http" not in chart.svg and "<style" not in chart.svg
        assert chart.shown_rows and all(
            len(row) == len(chart.shown_columns) for row in chart.shown_rows
        )
        assert {len(column.values) for column in chart.columns} == {chart.row_count}


def test_identifiers_differ_between_figures(everything: Record):
    ids = [id for c in every_chart(everything) for id in re.findall(r' id="([^"]*)"', c.svg)]

    assert ids and len(ids) == len(set(ids))


def test_references_inside_a_figure_resolve(everything: Record):
    for chart in every_chart(everything):
        referenced = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', chart.svg))
        assert referenced <= set(re.findall(r' id="([^"]*)"', chart.svg))


def test_run_that_did_nothing_has_figures_without_drawing(record: Record):
    bare = with_changes(record, series=EMPTY, experts=(), evaluations=())

    results = bare.results.model_copy(update={"per_network": {}})
    drawn = every_chart(with_changes(bare, results=results, steps=()))
    assert all(chart.drawing is None and chart.empty and not chart.svg for chart in drawn)


def test_single_point_is_drawn_as_a_marker(record: Record):
    expert = record.experts[0].model_copy(update={"test_accuracy": (50.0,), "step_length": (1.0,)})
    single = with_changes(
        record, series=POINT, experts=(expert,), evaluations=record.evaluations[:1], compared=()
    )

    for chart in every_chart(single):
        assert "<use" in chart.svg or chart.name in ("start-epochs", "plan")


def test_missing_values_of_imported_experts_are_explained(record: Record):
    imported = tuple(e.model_copy(update={"test_accuracy": ()}) for e in record.experts)
    (chart, steps) = expert_figures.expert_charts(with_changes(record, experts=imported))

    assert chart.drawing is None and "imported experts" in chart.empty
    assert steps.drawing is not None


def test_caption_of_paths_of_imported_experts_leaves_the_trajectory_out(convex: Record):
    imported = tuple(e.model_copy(update={"test_accuracy": ()}) for e in convex.experts)
    (chart,) = expert_figures.path_accuracy_charts(with_changes(convex, experts=imported))

    assert "as trained" not in chart.caption
    assert names(chart) == ["epoch", "convexified (%)"]


def test_one_expert_has_no_median(record: Record):
    (chart, _) = expert_figures.expert_charts(with_changes(record, experts=record.experts[:1]))

    assert [mark.text for mark in chart.legend] == ["expert 0"]
    assert "var(--accent)" not in chart.svg


def test_no_band_is_drawn_without_a_baseline(record: Record):
    results = record.results.model_copy(update={"random_real": {}})
    (chart,) = figures.accuracy_charts(with_changes(record, results=results))

    assert "band" not in {mark.kind for mark in chart.legend}
    assert "random real" not in chart.svg


def test_legend_names_the_source_of_a_published_accuracy(record: Record):
    (chart,) = figures.accuracy_charts(record)

    assert any("Invented et al., Table 0" in mark.text for mark in chart.legend)


def test_axis_is_logarithmic_if_values_span_decades():
    assert "logarithmic" in figures.series_chart("x", "X", "", (1.0, 0.001)).title
    assert "logarithmic" not in figures.series_chart("x", "X", "", (1.0, 0.5)).title
    assert "logarithmic" not in figures.series_chart("x", "X", "", (1.0, 0.0)).title


@pytest.mark.parametrize("extremes", [(1e-2, 1e100), (5e-324, 1e100), (-1e100, 1e100), (0, 1e100)])
def test_every_series_that_a_record_may_hold_can_be_drawn(extremes):
    two = {name: (COUNTS.get(name, 0.9),) * 2 for name in Series.model_fields}
    held = Series.model_validate({**two, "student_lr": extremes})
    assert figures.series_chart("x", "X", "", held.student_lr).drawing


@pytest.mark.parametrize("value", [1e101, -1e300])
def test_series_holds_no_number_that_no_axis_shows(value):
    with pytest.raises(ValueError, match="than or equal"):
        Series.model_validate({**POINT.model_dump(), "student_lr": (value,)})


def test_inner_loss_is_grouped_by_start_epoch_with_its_balanced_mean(everything: Record):
    (chart, steps) = ingredients.inner_loop_charts(everything)

    assert names(chart) == ["start epoch", "students", "plain", "balanced"]
    assert sum(values(chart, "students")) == len(everything.series.start_epoch)
    first = [i for i, s in enumerate(everything.series.start_epoch) if int(s) == 0]
    mean = sum(everything.series.inner_loss[i] for i in first) / len(first)
    assert values(chart, "plain")[0] == pytest.approx(mean)
    assert "times the smallest" in chart.caption
    assert sum(values(steps, "iterations")) == len(everything.series.matched_step)


@pytest.mark.parametrize(
    ("by", "words"),
    [("depth", "the first 25 % of the parameters"), ("error", "nearest to the target")],
)
def test_caption_of_the_loss_says_which_parameters_are_left_out(by, words, record: Record):
    matching = record.plan.distill.trajectory_matching
    part = MatchedParameters(drop=0.25, by=by)
    caption = figures.matching_loss_chart(
        record, matching.model_copy(update={"parameters": part})
    ).caption

    assert words in caption and "PAD" in caption
    assert "PAD" not in figures.matching_loss_chart(record, matching).caption


def test_unbalanced_inner_loss_has_one_line(record: Record):
    (chart,) = ingredients.inner_loop_charts(record)

    assert names(chart) == ["start epoch", "students", "plain"]


def test_caption_counts_the_rises_of_path_and_trajectory(convex: Record):
    (chart,) = expert_figures.path_accuracy_charts(convex)

    assert "the path rises in 20 of 20 steps" in chart.caption
    trained = [sum(e.test_accuracy[i] for e in convex.experts) for i in range(20)]
    start = 8 * convex.experts[0].path_accuracy[0]
    rises = sum(b > a for a, b in zip([start, *trained], trained, strict=False))
    assert f"as trained in {rises} of 20" in chart.caption


def test_bezier_curves_are_named_with_the_loss_that_their_control_points_reached(bezier: Record):
    (chart,) = expert_figures.path_accuracy_charts(bezier)

    assert chart.title == "Accuracy along the Bezier curve"
    assert "BTM, arXiv:2510.05805" in chart.caption
    assert "from 1.2, on the straight lines, to 0.9." in chart.caption
    assert "convexified" not in chart.caption + "".join(names(chart))
    starts = figures.start_epoch_chart(bezier, bezier.plan.distill.matching)
    assert "real numbers along the Bezier curve" in starts.caption


def test_chosen_images_are_marked_with_their_clusters(everything: Record):
    (first, _) = ingredients.cluster_charts(everything)

    clusters = [
        cluster
        for cluster, chosen in zip(values(first, "cluster"), values(first, "chosen"), strict=True)
        if chosen
    ]
    assert clusters == [0, 1]
    assert values(first, "first component") == list(everything.clusters[0].x)


def test_negative_learning_rate_is_drawn_with_its_positive_first_value():
    chart = figures.series_chart("x", "X", "", (0.01, -0.02), reference=(0.01, "first"))

    assert chart.svg


def test_downsampling_keeps_ends_and_peaks():
    draw = random.Random(1)
    ys = [draw.random() for _ in range(50_000)]
    ys[31_234], ys[777] = 9.0, -9.0

    xs_kept, ys_kept = svg.downsample(range(50_000), ys)

    assert len(xs_kept) <= svg.MOST_POINTS
    assert {0, 777, 31_234, 49_999} <= set(xs_kept)
    assert xs_kept == sorted(xs_kept)
    assert ys_kept == [ys[x] for x in xs_kept]


def test_short_series_keep_all_their_points():
    assert svg.downsample([1, 2, 3], [5, 4, 6]) == ([1, 2, 3], [5, 4, 6])


def test_histogram_counts_every_window_once(record: Record, convex: Record):
    for run in (record, convex):
        chart = figures.start_epoch_chart(run, run.plan.distill.matching)
        assert sum(values(chart, "windows")) == run.plan.step("distill").matching.iterations
    assert (
        figures.start_epoch_chart(convex, convex.plan.distill.matching).shown_rows[0][0] == "[0, 1)"
    )
    assert figures.start_epoch_chart(record, record.plan.distill.matching).shown_rows[0][0] == "0"


def test_median_ends_where_the_shortest_expert_ends(record: Record):
    (chart, _) = expert_figures.expert_charts(record)

    assert values(chart, "experts") == [8] * 11 + [1] * 9
    assert values(chart, "expert 7")[10:12] == [record.experts[7].test_accuracy[10], None]


def test_table_of_a_long_series_says_how_many_rows_it_shows():
    chart = figures.series_chart("x", "X", "", tuple(float(i) for i in range(1, 51)))

    assert len(chart.shown_rows) == SHOWN_ROWS
    assert chart.excerpt == "25 of 50 iterations"
    assert (chart.shown_rows[0][0], chart.shown_rows[-1][0]) == ("1", "50")


@pytest.mark.parametrize("count", [1, 24, 25, 26, 999])
def test_evenly_spaced_indices_start_and_end_with_the_series(count):
    indices = evenly_spaced_indices(count, 25)

    assert (indices[0], indices[-1]) == (0, count - 1)
    assert len(indices) == len(set(indices)) == min(count, 25)


def test_json_and_csv_hold_all_numbers_of_a_figure_exactly(record: Record):
    chart = figures.matching_loss_chart(record, record.plan.distill.matching)
    exact = list(record.series.matching_loss)

    columns = json.loads(numbers_json(chart))["columns"]
    assert columns["matching loss"] == exact
    rows = list(csv.reader(io.StringIO(numbers_csv(chart))))
    assert rows[0] == ["iteration", "matching loss"]
    assert [(int(i), float(x)) for i, x in rows[1:]] == list(enumerate(exact, start=1))
    embedded = json.loads(chart.embedded_json)
    assert embedded["columns"][1]["values"] == exact


def test_csv_cells_hold_several_values_or_none(record: Record):
    (chart,) = figures.accuracy_charts(record)
    rows = list(csv.DictReader(io.StringIO(numbers_csv(chart))))
    first = next(e for e in record.evaluations if e.subject == "distilled")
    assert tuple(map(float, rows[0]["single networks"].split())) == first.values
    single = with_changes(record, evaluations=(first.model_copy(update={"values": (50.0,)}),))
    (chart,) = figures.accuracy_charts(single)
    assert next(csv.DictReader(io.StringIO(numbers_csv(chart))))["std"] == ""


def test_frame_maps_values_to_positions_in_the_drawing():
    chart = figures.series_chart("x", "X", "", (1.0, 2.0, 4.0))
    frame = chart.drawing.frame
    path = max(re.findall(r' d="([^"]*)"', chart.svg), key=lambda d: d.count("L") * ("z" not in d))
    drawn = [tuple(map(float, p.split())) for p in re.findall(r"[ML] ([-\d.]+ [-\d.]+)", path)]
    for x, y, (drawn_x, drawn_y) in zip((1, 2, 3), (1, 2, 4), drawn, strict=True):
        expected_x = frame.left + (x - frame.low[0]) / (frame.high[0] - frame.low[0]) * (
            frame.right - frame.left
        )
        expected_y = frame.bottom - (y - frame.low[1]) / (frame.high[1] - frame.low[1]) * (
            frame.bottom - frame.top
        )
        assert (drawn_x, drawn_y) == pytest.approx((expected_x, expected_y), abs=0.1)


def test_plan_chart_names_every_step_and_the_reused_steps(record: Record):
    chart = plan_chart(record)
    assert values(chart, "step") == [step.id for step in record.plan.steps]
    needs = dict(zip(values(chart, "step"), values(chart, "needs"), strict=True))
    assert needs["distill"] == "experts initialise"
    assert needs["evaluate-convnet"] == "distill"
    assert "found in the store: experts" in chart.svg


def test_trajectory_that_trains_its_experts_needs_the_dataset(convex: Record):
    needs = dict(zip(*(values(plan_chart(convex), n) for n in ("step", "needs")), strict=True))
    assert needs["trajectory"] == "dataset"
    assert needs["path"] == "trajectory"


@pytest.mark.parametrize(
    "label", ["a" * 30 + "bcd", "h_a_very_long_specification_name_to_test", "x " * 40]
)
def test_label_on_two_lines_has_the_letters_of_its_start_and_end(label: str):
    first, rest = label_lines(label).split("\n")
    assert label.startswith(first)
    start, _, end = rest.partition("\N{HORIZONTAL ELLIPSIS}")
    assert label[len(first) :].strip().startswith(start)
    assert label.strip().endswith(end)
