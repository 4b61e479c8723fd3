"""The page of several runs: what differs between their specs, and what came of it."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from ddspec.dsl.atomic_write import write_text
from ddspec.dsl.diagnostics import RecordError
from ddspec.dsl.record.file_names import REPORT_HTML
from ddspec.dsl.record.record import Accuracy, Record
from ddspec.dsl.record.seed_groups import SEED_AXIS, group_of_sets
from ddspec.dsl.record.statistics import Welch, half_interval, holm, welch
from ddspec.dsl.regular_file import resolved
from ddspec.dsl.terms import StepKind
from ddspec.reports.figures.chart import Chart
from ddspec.reports.figures.line_chart import RunLine, line_chart
from ddspec.reports.figures.run import accuracy_over_iterations
from ddspec.reports.figures.strip_chart import Strip, strip_chart
from ddspec.reports.files import refuse_contradictions, refuse_foreign_page
from ddspec.reports.format import (
    PLUS_MINUS,
    duration,
    fixed,
    signed,
    significant,
    size,
)
from ddspec.reports.pages.run import read_images, read_record
from ddspec.reports.pages.template import page_template
from ddspec.reports.tables import gallery as sheets
from ddspec.reports.tables.costs import seconds_per_iteration
from ddspec.reports.tables.resolved import resolved_rows
from ddspec.reports.tables.seeds import SeedRow, seed_row

COMPARE_GENERATOR = "ddspec compare"
NO_PART = ("name", "title", "ddspec", "expect")
"""Keys that are not part of the experiment."""
ABSENT = "\N{EN DASH}"


@dataclass(frozen=True)
class ComparedRun:
    """One run as the page calls it."""

    label: str
    record: Record
    images: Mapping[str, bytes]
    address: str
    """Relative address of the run's page; empty if it is not below this page's folder."""


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


def read_run(folder: Path, page: Path) -> ComparedRun:
    """Return the record and the images of one run."""
    record = read_record(folder)
    own_page = resolved(folder) / REPORT_HTML
    below = own_page.is_relative_to(resolved(page).parent) and own_page.exists()
    address = Path(os.path.relpath(own_page, resolved(page).parent)).as_posix() if below else ""
    return ComparedRun(record.name, record, read_images(folder, record), address)


def with_labels(runs: Sequence[ComparedRun]) -> list[ComparedRun]:
    """Return the runs with labels: their names, or their folders if names are equal."""
    labels = unique_labels([run.label for run in runs], [run.record.plan.folder for run in runs])
    numbered = [f"{label} ({number})" for number, label in enumerate(labels, start=1)]
    return [
        replace(run, label=label)
        for run, label in zip(runs, unique_labels(labels, numbered), strict=True)
    ]


def unique_labels(labels: Sequence[str], longer: Sequence[str]) -> list[str]:
    """Return the labels; equal ones are replaced by their longer forms."""
    return [
        label if labels.count(label) == 1 else more
        for label, more in zip(labels, longer, strict=True)
    ]


def comparison_html(runs: Sequence[ComparedRun]) -> str:
    """Return the page."""
    return page_template("compare.html").render(
        generator=COMPARE_GENERATOR,
        runs=runs,
        differences=spec_differences(runs),
        results=comparison_rows(runs),
        seeds=seed_rows(runs),
        charts=charts(runs),
        gallery=comparison_gallery(runs),
        costs=comparison_cost_rows(runs),
        limits=comparison_limits(runs),
    )


def spec_differences(runs: Sequence[ComparedRun]) -> list[tuple[str, list[str]]]:
    """Return the keys whose values differ between runs, with the value of each run."""
    values = [
        {row.key: row.value for row in resolved_rows(run.record) if is_part(row.key)}
        for run in runs
    ]
    keys = dict.fromkeys(key for keys_of_run in values for key in keys_of_run)
    rows = [(key, [keys_of_run.get(key, ABSENT) for keys_of_run in values]) for key in keys]
    return [(key, row) for key, row in rows if len(set(row)) > 1]


def seed_rows(runs: Sequence[ComparedRun]) -> list[SeedRow]:
    """Return the results over runs that differ in their seed alone, by network."""
    alike: dict[tuple[tuple[str, str], ...], dict[str, int]] = {}
    for number, run in enumerate(runs):
        values = {row.key: row.value for row in resolved_rows(run.record) if is_part(row.key)}
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


def is_part(key: str) -> bool:
    """Return whether a key belongs to the experiment itself."""
    return key.partition(".")[0].partition("[")[0] not in NO_PART


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


def comparison_rows(runs: Sequence[ComparedRun]) -> list[ComparisonRow]:
    """Return, by network, every run that evaluated it, tested against the first of them."""
    networks = dict.fromkeys(name for run in runs for name in run.record.results.per_network)
    return [row for network in networks for row in rows_of(network, runs)]


def rows_of(network: str, runs: Sequence[ComparedRun]) -> list[ComparisonRow]:
    """Return the rows of one network."""
    accuracies = [(run, run.record.results.per_network.get(network)) for run in runs]
    evaluated = [(run, accuracy) for run, accuracy in accuracies if accuracy is not None]
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
        verdict = "differs" if p < 0.05 else "no difference found"
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


def charts(runs: Sequence[ComparedRun]) -> list[Chart]:
    """Return the figures: accuracies as dots, and the series of all runs together."""
    networks = dict.fromkeys(name for run in runs for name in run.record.results.per_network)
    return [
        strip_chart(
            "accuracies",
            "Test accuracy of every run",
            "Every fresh network trained on the chosen synthetic set of a run.",
            [
                Strip(
                    run.label if len(networks) == 1 else f"{network}: {run.label}",
                    run.record.results.per_network[network],
                    run.record.results.random_real.get(network),
                )
                for network in networks
                for run in runs
                if network in run.record.results.per_network
            ],
            reference="random real images",
            empty="No run was evaluated.",
        ),
        *(accuracy_overlay(network, runs) for network in networks),
        *(series_overlay(name, title, runs) for name, title in COMPARED_SERIES),
        line_chart(
            "expert-accuracy",
            "Test accuracy of experts",
            "Median over the experts of each run, up to the epoch that all of them reached.",
            [expert_line(run) for run in runs],
            "test accuracy (%)",
            "epoch",
        ),
    ]


COMPARED_SERIES = (
    ("matching_loss", "Matching loss"),
    ("student_lr", "Learned student learning rate"),
    ("gradient_norm", "Gradient norm"),
)
"""Series that have a figure on the page, with its title."""


def accuracy_overlay(network: str, runs: Sequence[ComparedRun]) -> Chart:
    """Return the mean accuracy over iterations of one network."""
    courses = [(run.label, accuracy_over_iterations(run.record, network)) for run in runs]
    lines = [
        RunLine(label, [point.iteration for point in course], [point.mean for point in course])
        for label, course in courses
    ]
    return line_chart(
        f"accuracy-{network}",
        f"Test accuracy of {network} over iterations",
        "Means over fresh networks; iteration 0 is the set before distillation.",
        lines,
        "test accuracy (%)",
        "iteration",
    )


def series_overlay(name: str, title: str, runs: Sequence[ComparedRun]) -> Chart:
    """Return the figure of one series."""
    series = [(run.label, getattr(run.record.series, name)) for run in runs]
    lines = [RunLine(label, range(1, len(values) + 1), values) for label, values in series]
    caption = "Of every iteration; lines as in the figure of accuracies over iterations."
    return line_chart(
        name.replace("_", "-"), title, caption, lines, title.lower(), x_label="iteration"
    )


def expert_line(run: ComparedRun) -> RunLine:
    """Return the median test accuracy of the experts after each epoch."""
    paths = [expert.test_accuracy for expert in run.record.experts if expert.test_accuracy]
    common = [median(values) for values in zip(*paths, strict=False)]
    return RunLine(run.label, range(1, len(common) + 1), common)


def comparison_gallery(runs: Sequence[ComparedRun]) -> sheets.Gallery:
    """Return pictures of the results side by side; none if the runs' classes differ."""
    if len({run.record.dataset.class_names for run in runs}) > 1:
        return sheets.Gallery((), "")
    galleries = [
        sheets.gallery(
            run.record.model_copy(update={"sheets": tuple(sheets.shown_sheets(run.record)[-1:])}),
            run.images,
            sheets.PIXELS_INSIDE // len(runs),
        )
        for run in runs
    ]
    rows = min(len(gallery.classes) for gallery in galleries)
    return sheets.Gallery(
        classes=tuple(
            sheets.ClassImages(
                name=galleries[0].classes[row].name,
                pictures=tuple(
                    replace(picture, caption=run.label, alt=f"{run.label}: {picture.alt}")
                    for run, gallery in zip(runs, galleries, strict=True)
                    for picture in gallery.classes[row].pictures
                ),
            )
            for row in range(rows)
        ),
        cut=" ".join(
            f"{run.label}: {gallery.cut}"
            for run, gallery in zip(runs, galleries, strict=True)
            if gallery.cut
        ),
    )


def comparison_cost_rows(runs: Sequence[ComparedRun]) -> list[tuple[str, list[str]]]:
    """Return time, memory and disk of each run."""
    texts: dict[str, Callable[[Record], str]] = {
        "experts": lambda record: run_seconds(record, "experts", "trajectory"),
        "distillation": lambda record: run_seconds(record, "distill"),
        "seconds per iteration": pace_of,
        "evaluation": lambda record: run_seconds(record, "evaluate"),
        "all steps": lambda record: duration(sum(s.seconds_when_made for s in record.steps)),
        "trajectories on disk": lambda record: size(record.storage.stored),
        "most memory in this run": memory_of,
        "device": lambda record: record.environment.device,
        "ddspec": lambda record: record.environment.ddspec,
    }
    return [(name, [tell(run.record) for run in runs]) for name, tell in texts.items()]


def run_seconds(record: Record, *kinds: StepKind) -> str:
    """Return the time that steps of these kinds took when they were made."""
    return duration(sum(step.seconds_when_made for step in record.steps if step.kind in kinds))


def pace_of(record: Record) -> str:
    """Return the seconds per iteration; empty if they are not known."""
    pace = seconds_per_iteration(record)
    return "" if pace is None else significant(pace)


def memory_of(record: Record) -> str:
    """Return the largest value of all steps; empty if none ran."""
    most = max((step.memory_bytes for step in record.steps), default=0)
    return size(most) if most else ""


def comparison_limits(runs: Sequence[ComparedRun]) -> list[str]:
    """Return what the comparison does not show."""
    limits = [
        "Every run distilled once, with one seed: the test is over fresh networks trained on one "
        "synthetic set each, and does not show how much another distillation would differ.",
        "Times are the wall times of all artifacts when they were made, in any run and on any "
        "machine, added up.",
    ]
    choices = {run.record.plan.choose for run in runs}
    if len(choices) > 1:
        limits.append(f"Results were chosen in different ways: {', '.join(sorted(choices))}.")
    if any(run.record.plan.choose == "best_on_test" for run in runs):
        limits.append(
            "A maximum over evaluations on the test set is too high, which the test ignores."
        )
    if len({run.record.dataset.fingerprint for run in runs}) > 1:
        limits.append("The runs used different images.")
    previews = [run.label for run in runs if run.record.plan.preview]
    if previews:
        limits.append(f"Previews, whose numbers say nothing about a method: {', '.join(previews)}.")
    unfinished = [run.label for run in runs if run.record.outcome.status != "done"]
    if unfinished:
        limits.append(f"Not ended as planned: {', '.join(unfinished)}.")
    return limits
