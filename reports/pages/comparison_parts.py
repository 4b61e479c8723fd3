"""What a comparison shows beside the results: curves, images and costs of several runs."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median

from ddspec.dsl.record.record import Record
from ddspec.dsl.spec.network import network_id
from ddspec.dsl.terms import StepKind
from ddspec.reports.figures import gallery as sheets
from ddspec.reports.figures.chart import Chart
from ddspec.reports.figures.line_chart import RunLine, line_chart
from ddspec.reports.figures.run import accuracy_over_iterations
from ddspec.reports.figures.strip_chart import Strip, strip_chart
from ddspec.reports.format import (
    duration,
    significant,
    size,
)
from ddspec.reports.pages.compared_runs import ComparedRun
from ddspec.reports.tables.costs import processor_time, seconds_per_iteration


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
        f"accuracy-{network_id(network)}",
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
        contact_sheets=tuple(
            replace(sheet, caption=run.label, alt=f"{run.label}: {sheet.alt}")
            for run, gallery in zip(runs, galleries, strict=True)
            for sheet in gallery.contact_sheets
        ),
    )


def comparison_cost_rows(runs: Sequence[ComparedRun]) -> list[tuple[str, list[str]]]:
    """Return time, memory and disk of each run."""
    texts: dict[str, Callable[[Record], str]] = {
        "wall time in this run": lambda record: duration(record.wall_seconds),
        "processor time when made": lambda record: processor_time(record.steps),
        "experts, when made": lambda record: run_seconds(record, "experts", "trajectory"),
        "distillation, when made": lambda record: run_seconds(record, "distill"),
        "seconds per iteration": pace_of,
        "evaluation, when made": lambda record: run_seconds(record, "evaluate"),
        "all steps, when made": run_seconds,
        "trajectories on disk": lambda record: size(record.storage.stored),
        "most memory in this run": memory_of,
        "device": lambda record: record.environment.device,
        "ddspec": lambda record: record.environment.ddspec,
    }
    return [(name, [tell(run.record) for run in runs]) for name, tell in texts.items()]


def run_seconds(record: Record, *kinds: StepKind) -> str:
    """Return the wall time of all artifacts when made, or of those of some kinds of steps."""
    steps = [step for step in record.steps if not kinds or step.kind in kinds]
    return duration(sum(step.seconds_when_made for step in steps))


def pace_of(record: Record) -> str:
    """Return the seconds per iteration; empty if they are not known."""
    pace = seconds_per_iteration(record)
    return "" if pace is None else significant(pace)


def memory_of(record: Record) -> str:
    """Return the largest value of all steps; empty if none ran."""
    most = max((step.memory_bytes for step in record.steps), default=0)
    return size(most) if most else ""
