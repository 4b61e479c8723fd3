"""Figures of objectives that compare classes: the loss by class, and what a schedule did."""

from matplotlib.axes import Axes

from ddspec.dsl.record.record import Record
from ddspec.dsl.spec.objectives.classes import ClassMatching, DynamicSchedule, FeatureMatching
from ddspec.reports.figures.chart import Chart, Column, format_count_axis, format_value_axis
from ddspec.reports.figures.run import series_chart
from ddspec.reports.figures.svg import ACCENT, draw
from ddspec.reports.format import plural, significant


def class_matching_charts(record: Record) -> list[Chart]:
    """Return the figures that only these objectives have."""
    matching = record.plan.distill.matching
    if not isinstance(matching, ClassMatching):
        return []
    charts = [class_loss_chart(record)] if record.class_losses is not None else []
    if isinstance(matching, FeatureMatching) and isinstance(matching.schedule, DynamicSchedule):
        charts += schedule_charts(record)
    return charts


def class_loss_chart(record: Record) -> Chart:
    """Return the part of each class in the matching loss."""
    losses = record.class_losses
    assert losses is not None  # asked for only where the record has them
    values, names = losses.values, record.dataset.class_names

    def plot(axes: Axes) -> None:
        axes.bar(range(len(values)), values, width=0.9, color=ACCENT)
        axes.set_ylabel("matching loss")
        format_value_axis(axes, logarithmic=False)
        format_count_axis(axes, "class")

    label = (
        f"Bar chart of {plural(len(values), 'class', 'classes')}: matching loss between "
        f"{significant(min(values))} and {significant(max(values))}"
    )
    return Chart(
        name="class-losses",
        title="Matching loss by class",
        caption="The part of each class in the matching loss of the last iteration before the "
        f"chosen set, iteration {losses.iteration:,}: how far real and synthetic images of the "
        "class lie apart. What an objective adds for all classes together is not in it.",
        drawing=draw("class-losses", label, plot),
        columns=(
            Column("number", list(range(len(values))), shown=False),
            Column("class", list(names[: len(values)])),
            Column("matching loss", values),
        ),
        noun="classes",
    )


def schedule_charts(record: Record) -> list[Chart]:
    """Return how many steps of each kind the dynamic schedule took."""
    series = record.series
    return [
        series_chart(
            "pixel-steps",
            "Pixel steps per iteration",
            "Updates of the synthetic set until the accuracy of the iteration's network changed "
            "less than the schedule's tolerance.",
            series.pixel_steps,
        ),
        series_chart(
            "network-epochs",
            "Network epochs per iteration",
            "Epochs for which the iteration's network was trained on the synthetic set, in all "
            "phases between pixel steps.",
            series.network_epochs,
        ),
    ]
