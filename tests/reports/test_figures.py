import random
import re

import pytest

from ddspec.dsl.record import Record, Series
from ddspec.reports import figures, ingredients, svg

EMPTY = Series.model_validate({name: () for name in Series.model_fields})
COUNTS = {"expert": 0, "matched_step": 4, "guarded": 0, "rate_held": 0}
POINT = Series.model_validate({name: (COUNTS.get(name, 0.9),) for name in Series.model_fields})


def every_chart(record: Record) -> list[figures.Chart]:
    return [
        *figures.accuracy_charts(record),
        *figures.matching_charts(record),
        *figures.expert_charts(record),
        *ingredients.ingredient_charts(record),
        *ingredients.path_charts(record),
        *ingredients.cluster_charts(record),
        *ingredients.label_charts(record),
    ]


def without(record: Record, **changes: object) -> Record:
    return record.model_copy(update=changes)


@pytest.mark.parametrize(("name", "count"), [("record", 8), ("convex", 9), ("everything", 13)])
def test_every_figure_is_labelled_and_takes_its_colours_from_the_page(name, count, request):
    charts = every_chart(request.getfixturevalue(name))

    assert len(charts) == count
    for chart in charts:
        assert chart.svg.startswith('<svg class="chart" role="img" aria-label="')
        assert "var(--accent)" in chart.svg or chart.name == "inner-loss"
        assert re.findall(r"#[0-9a-fA-F]{6}", chart.svg) == []
        assert "http" not in chart.svg and "<style" not in chart.svg
        assert chart.rows and all(len(row) == len(chart.columns) for row in chart.rows)


def test_identifiers_differ_between_figures(everything: Record):
    found = [name for c in every_chart(everything) for name in re.findall(r' id="([^"]*)"', c.svg)]

    assert found and len(found) == len(set(found))


def test_references_inside_a_figure_resolve(everything: Record):
    for chart in every_chart(everything):
        referenced = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', chart.svg))
        assert referenced <= set(re.findall(r' id="([^"]*)"', chart.svg))


def test_a_run_that_did_nothing_has_figures_without_drawing(record: Record):
    bare = without(record, series=EMPTY, experts=(), evaluations=())

    assert all(chart.svg is None and chart.empty for chart in every_chart(bare))


def test_a_single_point_is_drawn_as_a_mark(record: Record):
    expert = record.experts[0].model_copy(update={"test_accuracy": (50.0,), "step_length": (1.0,)})
    single = without(
        record, series=POINT, experts=(expert,), evaluations=record.evaluations[:1], compared=()
    )

    for chart in every_chart(single):
        assert chart.svg is not None
        assert "<use" in chart.svg or chart.name == "start-epochs"


def test_one_expert_has_no_median(record: Record):
    (chart, _) = figures.expert_charts(without(record, experts=record.experts[:1]))

    assert [mark.words for mark in chart.legend] == ["expert 0"]
    assert "var(--accent)" not in chart.svg


def test_without_baseline_no_band_is_drawn(record: Record):
    results = record.results.model_copy(update={"random_real": {}})
    (chart,) = figures.accuracy_charts(without(record, results=results))

    assert "band" not in {mark.kind for mark in chart.legend}
    assert "random real" not in chart.svg


def test_published_line_is_named_with_its_source(record: Record):
    (chart,) = figures.accuracy_charts(record)

    assert any("Invented et al., Table 0" in mark.words for mark in chart.legend)


def test_axis_turns_logarithmic_where_values_span_decades():
    assert "logarithmic" in figures.series_chart("x", "X", "", (1.0, 0.001)).title
    assert "logarithmic" not in figures.series_chart("x", "X", "", (1.0, 0.5)).title
    assert "logarithmic" not in figures.series_chart("x", "X", "", (1.0, 0.0)).title


def test_inner_loss_is_binned_by_start_epoch_and_shown_balanced_too(everything: Record):
    (chart, steps) = ingredients.ingredient_charts(everything)

    assert chart.columns == ("start epoch", "students", "plain", "balanced")
    assert sum(int(row[1]) for row in chart.rows) == len(everything.series.start_epoch)
    first = [i for i, s in enumerate(everything.series.start_epoch) if int(s) == 0]
    mean = sum(everything.series.inner_loss[i] for i in first) / len(first)
    assert float(chart.rows[0][2]) == pytest.approx(mean, rel=1e-3)
    assert "times the smallest" in chart.shows
    assert sum(int(row[1]) for row in steps.rows) == len(everything.series.matched_step)


def test_unbalanced_inner_loss_has_one_line(record: Record):
    (chart,) = ingredients.ingredient_charts(record)

    assert chart.columns == ("start epoch", "students", "plain")


def test_rises_along_path_and_trajectory_are_counted(convex: Record):
    (chart,) = ingredients.path_charts(convex)

    assert "the path rises in 20 of 20 steps" in chart.shows
    trained = [sum(e.test_accuracy[i] for e in convex.experts) for i in range(20)]
    start = 8 * convex.experts[0].path_accuracy[0]
    rises = sum(b > a for a, b in zip([start, *trained], trained, strict=False))
    assert f"as trained in {rises} of 20" in chart.shows


def test_chosen_images_are_counted_by_cluster(everything: Record):
    (first, _) = ingredients.cluster_charts(everything)

    assert first.rows == (("0", "20", "1"), ("1", "20", "1"))


def test_negative_learning_rate_is_drawn_beside_its_positive_first_value():
    chart = figures.series_chart("x", "X", "", (0.01, -0.02), reference=(0.01, "first"))

    assert chart.svg is not None


def test_downsampling_keeps_ends_and_peaks():
    draw = random.Random(1)
    ys = [draw.random() for _ in range(50_000)]
    ys[31_234], ys[777] = 9.0, -9.0

    xs_kept, ys_kept = svg.downsample(range(50_000), ys)

    assert len(xs_kept) <= svg.MOST_POINTS
    assert {0, 777, 31_234, 49_999} <= set(xs_kept)
    assert xs_kept == sorted(xs_kept)
    assert ys_kept == [ys[x] for x in xs_kept]


def test_short_series_are_drawn_whole():
    assert svg.downsample([1, 2, 3], [5, 4, 6]) == ([1, 2, 3], [5, 4, 6])


def test_histogram_counts_every_window_once(record: Record, convex: Record):
    for run in (record, convex):
        chart = figures.start_chart(run)
        assert (
            sum(int(row[1]) for row in chart.rows) == run.plan.step("distill").matching.iterations
        )
    assert figures.start_chart(convex).rows[0][0] == "[0, 1)"
    assert figures.start_chart(record).rows[0][0] == "0"


def test_median_ends_where_the_shortest_expert_ends(record: Record):
    (chart, _) = figures.expert_charts(record)

    counts = [row[1] for row in chart.rows]
    assert counts == ["8"] * 11 + ["1"] * 9


def test_long_series_have_short_tables_that_say_so():
    chart = figures.series_chart("x", "X", "", tuple(float(i) for i in range(1, 51)))

    assert len(chart.rows) == figures.SHOWN_ROWS
    assert chart.cut == "25 of 50 iterations"
    assert (chart.rows[0][0], chart.rows[-1][0]) == ("1", "50")


@pytest.mark.parametrize("count", [1, 24, 25, 26, 999])
def test_evenly_spread_indices_start_and_end_with_the_series(count):
    found = svg.evenly(count, 25)

    assert (found[0], found[-1]) == (0, count - 1)
    assert len(found) == len(set(found)) == min(count, 25)
