"""Whole steps, one member after the other, as a run with a single worker performs them."""

from ddspec.engine.stages import evaluate as evaluating
from ddspec.engine.stages import path_accuracy, surrogates
from ddspec.engine.stages.experts import score_images, train_expert
from ddspec.engine.store.evaluation_file import read_networks
from ddspec.engine.tasks.tasks import network_blocks


def score_all_images(step, context):
    for network in step.members:
        score_images(step, network, context)


def train_experts(step, context):
    for expert in step.members:
        train_expert(step, expert, context)


def make_surrogates(step, context):
    for trajectory in step.members:
        surrogates.make_surrogate(step, trajectory, context)


def measure_path_accuracy(step, source, context):
    for path in step.members:
        path_accuracy.measure_path_accuracy(step, path, source, context)


def evaluate(step, sets, experts, context):
    inputs = evaluating.EvaluationInputs(step, sets, experts)
    for member in step.members:
        if step.subject == "distilled" and member.number not in sets:
            continue
        have = len(read_networks(context.store, member.digest))
        for block in network_blocks(have, step.evaluation.repeats, step.route.networks):
            evaluating.evaluate(inputs, evaluating.NetworkBlock(member, range(*block)), context)
