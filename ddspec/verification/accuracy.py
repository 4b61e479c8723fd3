"""Accuracies of networks that are trained again on synthetic.h5 alone."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ddspec import api
from ddspec.dsl.diagnostics import DdspecError, RecordError
from ddspec.dsl.parsing.loader import LoadedSpec
from ddspec.dsl.plan.steps import Plan
from ddspec.dsl.record.agreement import compare_accuracies, differing_conditions
from ddspec.dsl.record.file_names import SYNTHETIC_H5
from ddspec.dsl.record.record import Accuracy, Record
from ddspec.dsl.record.results import accuracy_of, mean_and_deviation
from ddspec.dsl.terms import Device
from ddspec.engine.machine.environment import environment
from ddspec.verification.finding import Finding, FindingVerdict

if TYPE_CHECKING:
    from ddspec.engine.control import Control


def check_accuracy_again(
    folder: Path,
    record: Record,
    loaded: LoadedSpec,
    data: Path | None,
    device: Device | None,
    control: "Control | None",
) -> Iterator[Finding]:
    """Check the accuracies of networks trained again on synthetic.h5 alone."""
    what = "accuracy from synthetic.h5"
    if record.results.accuracy is None:
        yield Finding(what, "not checked", "no set of this run was evaluated")
        return
    from ddspec.engine.control import Control
    from ddspec.engine.exchange.synthetic_file import read_synthetic_file
    from ddspec.engine.run.reevaluate import reevaluate
    from ddspec.engine.store.store import Store
    from ddspec.reproduction import check_comparable

    iteration = record.results.accuracy.iteration
    with tempfile.TemporaryDirectory(prefix="ddspec-verify-") as temporary:
        root = Path(temporary)
        try:
            arrays = read_synthetic_file(folder / SYNTHETIC_H5, record.plan)
            compiled = api.compile(
                loaded, data=data, store=root, device=device, check_imports=False
            )
            plan = check_comparable(compiled, record).plan
            networks = reevaluate(plan, iteration, arrays, Store(root), control or Control())
        except DdspecError as error:
            missing = isinstance(error, DdspecError) and not isinstance(error, RecordError)
            yield Finding(what, "not checked" if missing else "fault", str(error))
            return
    for network, trained in networks.items():
        values = tuple(evaluation.accuracy for evaluation in trained)
        recorded = [
            accuracy_of(evaluation, record.plan.choose)
            for evaluation in record.evaluations
            if (evaluation.subject, evaluation.network, evaluation.iteration)
            == ("distilled", network, iteration)
            and evaluation.values
        ]
        if recorded:
            yield against_record(f"{what}, {network}", record, plan, recorded[0], values)
        else:
            yield Finding(f"{what}, {network}", "fault", "the record has no such accuracy")


def against_record(
    what: str, record: Record, plan: Plan, recorded: Accuracy, values: tuple[float, ...]
) -> Finding:
    """Compare accuracies with the recorded ones: by bits, or else by a test."""
    mean, std = mean_and_deviation(values)
    again = recorded.model_copy(
        update={"values": values, "mean": mean, "std": std, "n": len(values)}
    )
    done = [step for step in plan.evaluations("distilled") if step.network_name == recorded.network]
    reasons = tuple(differing_conditions(record, environment(done[0].route.device), done))
    agreed = compare_accuracies(what, recorded, again, reasons)
    verdicts: dict[str, FindingVerdict] = {
        "PASS": "ok",
        "FAIL": "fault",
        "NOT COMPARABLE": "not checked",
    }
    sentences = [f"{mean:.2f} % now, {recorded.mean:.2f} % in the record: {agreed.reason}"]
    sentences += [
        f"{comparison.verdict} with {comparison.expectation.accuracy:g} % "
        f"of {comparison.expectation.source}"
        for comparison in record.compared
        if comparison.measured.values == recorded.values
        and comparison.measured.network == recorded.network
    ]
    return Finding(what, verdicts[agreed.verdict], "; ".join(sentences))
