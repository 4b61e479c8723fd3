"""The page of several runs: what differs between their specs, and what came of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ddspec.dsl.atomic_write import write_text
from ddspec.dsl.diagnostics import RecordError
from ddspec.dsl.record.record import Accuracy
from ddspec.dsl.record.seed_groups import SEED_AXIS, group_of_sets
from ddspec.dsl.record.statistics import TEST_LEVEL, Welch, half_interval, holm, welch
from ddspec.reports.files import refuse_contradictions, refuse_foreign_page
from ddspec.reports.format import (
    NO_BREAK,
    PLUS_MINUS,
    day_text,
    fixed,
    plural,
    signed,
    significant,
)
from ddspec.reports.pages.compared_runs import (
    ComparedRun,
    read_run,
    settings_of,
    spec_differences,
    with_labels,
)
from ddspec.reports.pages.comparison_parts import (
    charts,
    comparison_cost_rows,
    comparison_gallery,
)
from ddspec.reports.pages.template import page_template
from ddspec.reports.tables.best import best_words, pair_words
from ddspec.reports.tables.judging import differing_conditions, judged_alike, judging_conditions
from ddspec.reports.tables.leaderboard import SUFFIXES, Leaderboard, leaderboard, leaderboards_text
from ddspec.reports.tables.seeds import SeedRow, seed_row
from ddspec.reports.tables.summary import signs_words

COMPARE_GENERATOR = "ddspec compare"


def write_leaderboard(folders: Sequence[Path], file: Path) -> Path:
    """Write the leaderboards of run folders as Markdown, LaTeX or CSV, by the file's suffix.

    Raises RecordError for another suffix, if a folder holds no run, or if none was evaluated.
    """
    if file.suffix not in SUFFIXES:
        raise RecordError(
            f"{file.name}: a leaderboard is written as {', '.join(SUFFIXES)}",
            hint="choose one of these suffixes",
        )
    boards = leaderboards_of(with_labels([read_run(folder, file) for folder in folders]))
    if not boards:
        raise RecordError("none of these runs was evaluated, so there is nothing to rank")
    return write_text(file, leaderboards_text(boards, file.suffix))


def render_compare(folders: Sequence[Path], page: Path) -> Path:
    """Write the page that compares several run folders; return its path.

    Raises RecordError if a folder holds no run, if one is named twice, or if the page would
    replace a file that is not such a page.
    """
    runs = [read_run(folder, page) for folder in folders]
    named_twice = [folder for folder in folders if folders.count(folder) > 1]
    if named_twice or len(runs) < 2:
        what = f"{named_twice[0]} is named twice" if named_twice else "only one run was named"
        raise RecordError(what, hint="name two or more run folders")
    refuse_foreign_page(page, COMPARE_GENERATOR, hint="choose another file with --to")
    with refuse_contradictions("one of the records", "ddspec verify finds the fault in each run"):
        text = comparison_html(with_labels(runs))
    return write_text(page, text)


def comparison_html(runs: Sequence[ComparedRun]) -> str:
    """Return the page."""
    return page_template("compare.html").render(
        generator=COMPARE_GENERATOR,
        runs=runs,
        headline=headline(runs),
        sections=sections(runs),
        dates=[day_text(run.record.date) for run in runs],
        warning_signs=[signs_words(run.record.warnings) for run in runs],
        differences=spec_differences(runs),
        judged_differently=differing_conditions([run.record for run in runs]),
        leaderboards=leaderboards_of(runs),
        results=comparison_rows(runs),
        seeds=seed_rows(runs),
        charts=charts(runs),
        gallery=comparison_gallery(runs),
        costs=comparison_cost_rows(runs),
        limits=comparison_limits(runs),
    )


def headline(runs: Sequence[ComparedRun]) -> str:
    """Return the outcome of the comparison in a sentence, on the first network of all runs."""
    count = plural(len(runs), "run")
    if len(groups_of(runs)) > 1:
        return f"{count} that are not judged alike: their accuracies do not compare"
    networks = [list(run.record.results.per_network) for run in runs]
    common = [name for name in networks[0] if all(name in of_run for of_run in networks)]
    if not common:
        return f"{count} without a network that all of them were tested on"
    over_seeds = seed_rows(runs)
    if [key for key, _ in spec_differences(runs)] == [SEED_AXIS] and over_seeds:
        row = over_seeds[0]
        return (
            f"{count} that differ in their seed alone: {row.accuracy}{NO_BREAK}% on {common[0]}, "
            f"with a standard deviation of {row.std_over_sets} points over {row.sets} sets"
        )
    labelled = [(run.label, run.record.results.per_network[common[0]]) for run in runs]
    return pair_words(*labelled) if len(labelled) == 2 else best_words(labelled)


def sections(runs: Sequence[ComparedRun]) -> list[tuple[str, str]]:
    """Return ids and titles of the page's sections; those that it lacks are left out."""
    apart = differing_conditions([run.record for run in runs])
    return [
        ("main", "Runs"),
        *([("unlike", "Not judged alike")] if apart else []),
        ("differences", "Differing settings"),
        *([("leaderboard", "Leaderboard")] if leaderboards_of(runs) else []),
        ("results", "Results"),
        *([("seeds", "Over seeds")] if seed_rows(runs) else []),
        ("images", "Synthetic images"),
        ("curves", "Curves"),
        ("cost", "Cost"),
        ("limits", "Limits"),
    ]


def seed_rows(runs: Sequence[ComparedRun]) -> list[SeedRow]:
    """Return the results over runs that differ in their seed alone, by network."""
    alike: dict[tuple[tuple[str, str], ...], dict[str, int]] = {}
    for number, run in enumerate(runs):
        values = settings_of(run)
        # Of two runs with the same seed the second is a repetition, not another set.
        alike.setdefault(
            tuple((key, value) for key, value in values.items() if key != SEED_AXIS), {}
        ).setdefault(values.get(SEED_AXIS, ""), number)
    rows_over_seeds = []
    for numbers in (list(of_seed.values()) for of_seed in alike.values()):
        for network in dict.fromkeys(
            name for number in numbers for name in runs[number].record.results.per_network
        ):
            sets = {
                number: accuracy
                for number in numbers
                if (accuracy := runs[number].record.results.per_network.get(network))
            }
            labels = ", ".join(runs[number].label for number in sets)
            if len(sets) > 1:
                group = group_of_sets((network, labels), [*sets], [*sets.values()])
                rows_over_seeds.append(seed_row(group))
    return rows_over_seeds


@dataclass(frozen=True)
class ComparisonRow:
    """The accuracy of one run, compared with that of the first."""

    network: str
    label: str
    choice: str
    mean: str
    std: str
    n: str
    interval: str
    random_real: str
    difference: str
    difference_interval: str
    p: str
    verdict: str


def groups_of(runs: Sequence[ComparedRun]) -> list[list[ComparedRun]]:
    """Return the runs in groups that are judged alike."""
    return [[runs[n] for n in group] for group in judged_alike([run.record for run in runs])]


def leaderboards_of(runs: Sequence[ComparedRun]) -> list[Leaderboard]:
    """Return a leaderboard for every group of runs that are judged alike."""
    boards = []
    for group in groups_of(runs):
        conditions = judging_conditions(group[0].record)
        judged = f"{conditions['dataset']}, protocol {conditions['protocol']}, " + (
            f"{conditions['epochs']} epochs, {conditions['images per step']} images per step"
        )
        if conditions["preview"] == "yes":
            judged += ", previews, whose numbers say nothing about a method"
        records = [run.record for run in group]
        board = leaderboard([run.label for run in group], records, judged)
        boards += [board] if board is not None else []
    return boards


def comparison_rows(runs: Sequence[ComparedRun]) -> list[ComparisonRow]:
    """Return, by network, every run that evaluated it.

    Each is tested against the first of those that are judged alike.
    """
    networks = dict.fromkeys(name for run in runs for name in run.record.results.per_network)
    return [
        row for network in networks for group in groups_of(runs) for row in rows_of(network, group)
    ]


def rows_of(network: str, runs: Sequence[ComparedRun]) -> list[ComparisonRow]:
    """Return the rows of one network."""
    accuracies = [(run, run.record.results.per_network.get(network)) for run in runs]
    evaluated = [(run, accuracy) for run, accuracy in accuracies if accuracy is not None]
    if not evaluated:
        return []
    first = evaluated[0][1]
    tests = [welch(accuracy, first) for _, accuracy in evaluated[1:]]
    adjusted = iter(holm([test.p for test in tests if test]))
    ps = [None, *(next(adjusted) if test else None for test in tests)]
    return [
        comparison_row(run, accuracy, first, test, p)
        for (run, accuracy), test, p in zip(evaluated, [None, *tests], ps, strict=True)
    ]


def comparison_row(
    run: ComparedRun, accuracy: Accuracy, first: Accuracy, test: Welch | None, p: float | None
) -> ComparisonRow:
    """Return one run as text."""
    half = half_interval(accuracy)
    baseline = run.record.results.random_real.get(accuracy.network)
    is_first = accuracy is first
    verdict = "" if is_first else "not decidable"
    if p is not None:
        verdict = "differs" if p < TEST_LEVEL else "no difference found"
    return ComparisonRow(
        network=accuracy.network,
        label=run.label,
        choice=f"{accuracy.choose}, iteration {accuracy.iteration:,}",
        mean=fixed(accuracy.mean),
        std=fixed(accuracy.std) if accuracy.n > 1 else "",
        n=str(accuracy.n),
        interval=f"{PLUS_MINUS} {fixed(half)}" if half is not None else "",
        random_real=fixed(baseline.mean) if baseline else "",
        difference="" if is_first else signed(accuracy.mean - first.mean),
        difference_interval=f"{PLUS_MINUS} {fixed(test.half)}" if test else "",
        p="" if p is None else significant(p) if p >= 1e-4 else "< 0.0001",
        verdict=verdict,
    )


def comparison_limits(runs: Sequence[ComparedRun]) -> list[str]:
    """Return what the comparison does not show."""
    limits = [
        "Every run distilled once, with one seed: the test is over fresh networks trained on one "
        "synthetic set each, and does not show how much another distillation would differ.",
        "Times when made are the wall times of all artifacts, made in any run and on any "
        "machine, added up.",
    ]
    choices = {run.record.plan.choose for run in runs}
    if len(choices) > 1:
        limits.append(f"Results were chosen in different ways: {', '.join(sorted(choices))}.")
    if any(run.record.plan.choose == "best_on_test" for run in runs):
        limits.append(
            "A maximum over evaluations on the test set is too high, which the test ignores."
        )
    previews = [run.label for run in runs if run.record.plan.preview]
    if previews:
        limits.append(f"Previews, whose numbers say nothing about a method: {', '.join(previews)}.")
    unfinished = [run.label for run in runs if run.record.outcome.status != "done"]
    if unfinished:
        limits.append(f"Not ended as planned: {', '.join(unfinished)}.")
    return limits
