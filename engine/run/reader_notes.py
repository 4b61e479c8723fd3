"""The notes of a record: what a reader needs to interpret the numbers."""

from collections.abc import Sequence

from ddspec.dsl.facts.datasets import other_split
from ddspec.dsl.plan.steps import ExpertsStep, Plan, TrajectoryStep
from ddspec.dsl.record.record import SUBJECT_WORDS, Evaluated
from ddspec.dsl.record.series import Guarded, Series
from ddspec.dsl.spec.network import LibraryNetwork
from ddspec.dsl.terms import BEST_EPOCH_PROTOCOLS


def reader_notes(plan: Plan, series: Series, evaluations: Sequence[Evaluated]) -> tuple[str, ...]:
    """Return the notes that a reader needs to interpret the numbers."""
    notes = []
    if plan.evaluations("random_real") or plan.evaluations("random_real_expert_labels"):
        rate = "the student_lr that distillation starts with"
        evaluation = plan.evaluations("distilled")[0].evaluation
        if evaluation.lr is not None:
            rate = "the learning rate of the evaluation"
        elif evaluation.lr_search is not None:
            rate = "the best of the learning rates that were searched"
        notes.append(
            "Baselines of random real images train each network on its own draw of them, at "
            f"{rate}."
        )
    if plan.evaluations("random_real_expert_labels"):
        notes.append(
            "Expert labels are the softmax of expert 0 at its last epoch, temperature 1, on "
            "images without augmentation."
        )
    if plan.preview:
        notes.append(
            "This is a preview: the spec was shrunk to end within minutes, and its numbers say "
            "nothing about the method."
        )
        held = [iteration for iteration, was_held in enumerate(series.rate_held) if was_held]
        if held and any("positivity" in change for change in plan.preview):
            notes.append(
                "The preview held student_lr above zero where the full run would stop: in "
                f"iteration {held[0]}. The full run diverges if its rates lead there too; lower "
                "synthetic.student_lr.lr."
            )
    notes += evaluation_notes(plan, evaluations)
    if plan.choose == "best_on_test":
        notes.append(
            "The result is the maximum over evaluations on the test set, as in the literature; "
            "no held-out data chose it."
        )
    notes += [
        f"{evaluated.ran_away} of {len(evaluated.values)} networks trained on "
        f"{SUBJECT_WORDS[evaluated.subject]} (iteration {evaluated.iteration}, rate "
        f"{evaluated.student_lr:.3g}) diverged: their parameters are not finite, and their "
        "accuracy is that of predicting one class."
        for evaluated in evaluations
        if evaluated.ran_away
    ]
    skipped = series.guarded.count(Guarded.SKIPPED)
    if skipped:
        notes.append(f"The limits skipped {skipped} of {len(series.guarded)} updates.")
    bounded = sum(series.phases_at_bound)
    if bounded:
        notes.append(
            f"The dynamic schedule of matching ended {bounded} phases at their bound, in "
            f"{sum(count > 0 for count in series.phases_at_bound)} of "
            f"{len(series.phases_at_bound)} iterations; CAFE's public code has no bounds."
        )
    notes += expert_notes(plan.trajectories)
    difference = other_split(plan.dataset.dataset.name, plan.dataset.facts)
    if difference is not None:
        notes.append(f"The dataset has {difference}: published accuracies do not apply to it.")
    return tuple(notes)


def evaluation_notes(plan: Plan, evaluations: Sequence[Evaluated]) -> list[str]:
    """Return the notes on what was chosen within evaluations: a test, a learning rate."""
    notes, evaluation = [], plan.evaluations("distilled")[0].evaluation
    author, held_out = (
        BEST_EPOCH_PROTOCOLS.get(evaluation.protocol),
        plan.dataset.dataset.validation > 0,
    )
    if author is not None and held_out:
        notes.append(
            "Every accuracy is that of the epoch that is best on held-out images; "
            f"{author}'s public code takes the best on the test set."
        )
    elif author is not None:
        notes.append(
            "Every accuracy is the best of tests over the epochs of its network, as in "
            f"{author}'s public code: a maximum over the test set, which is too high."
        )
    if evaluation.lr_search is not None:
        rates = sorted({e.student_lr for e in evaluations if e.subject != "full_data"})
        notes.append(
            "The learning rate of each set is the best of "
            f"{', '.join(f'{rate:g}' for rate in evaluation.lr_search)} for a network that was "
            "tested on held-out images; chosen were "
            f"{', '.join(f'{rate:g}' for rate in rates) or 'none yet'}."
        )
    for step in plan.evaluations("distilled"):
        if isinstance(step.network, LibraryNetwork):
            fitting = step.network.fitting or "as it is, without a change"
            notes.append(
                f"{step.network.name} begins untrained; it takes these images so: {fitting}."
            )
    return notes


def expert_notes(step: ExpertsStep | TrajectoryStep | None) -> list[str]:
    """Return the notes on the experts of a plan, if it has any."""
    notes = []
    if step is not None and step.recipe.experts.imported is not None:
        notes.append(
            "The experts were imported: their training images, their training and their accuracy "
            "are not known. Keys of [augmentation] do not describe them."
        )
    if isinstance(step, ExpertsStep) and len({member.epochs for member in step.members}) > 1:
        most = max(member.epochs for member in step.members)
        least = min(member.epochs for member in step.members)
        whole = [member.number for member in step.members if member.epochs == most]
        ran = f"Expert {whole[0]} ran" if len(whole) == 1 else f"{len(whole)} experts ran"
        notes.append(
            f"{ran} all {most} epochs; the others stop after {least}, where the last window ends."
        )
    return notes
