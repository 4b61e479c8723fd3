"""Whether two records agree: what gives leave to differ, and what a test then says."""

import pytest

from ddspec.dsl.record.agreement import compare_records, reasons_bits_may_differ
from ddspec.dsl.record.record import Accuracy, Outcome, Record
from ddspec.dsl.record.reproduction import overall


def shifted(record: Record, by: float) -> Record:
    """The same run with other accuracies and another loss."""

    def other(accuracy: Accuracy) -> Accuracy:
        values = tuple(value + by for value in accuracy.values)
        return accuracy.model_copy(update={"values": values, "mean": accuracy.mean + by})

    results = record.results
    moved = {
        name: other(getattr(results, name)) for name in ("accuracy", "last", "best_on_test")
    } | {
        name: {network: other(accuracy) for network, accuracy in getattr(results, name).items()}
        for name in ("per_network", "random_real", "random_real_expert_labels")
    }
    loss = (*record.series.matching_loss[:7], 0.5, *record.series.matching_loss[8:])
    series = record.series.model_copy(update={"matching_loss": loss})
    return record.model_copy(update={"results": results.model_copy(update=moved), "series": series})


def elsewhere(record: Record, **changes: object) -> Record:
    environment = record.environment.model_copy(update=changes)
    return record.model_copy(update={"environment": environment})


def test_the_same_run_passes_bitwise(record: Record):
    numbers = tuple(compare_records(record, record, ()))
    assert {number.verdict for number in numbers} == {"PASS"}
    assert overall(numbers) == "PASS"


def test_every_number_counts_once(record: Record):
    names = [number.what for number in compare_records(record, record, ())]
    assert names[0] == "result (last)"
    assert not {"last iterate", "best iterate on the test set", "chosen set, convnet"} & {*names}

    results = record.results
    other = results.last.model_copy(update={"mean": 1.0})
    changed = record.model_copy(update={"results": results.model_copy(update={"last": other})})
    names = [number.what for number in compare_records(changed, changed, ())]
    assert "last iterate" in names


def test_series_that_the_spec_does_not_use_do_not_count_unless_they_differ(record: Record):
    names = [number.what for number in compare_records(record, record, ())]
    assert "matching loss, every iteration" in names
    assert not any("limits" in name or "intermediate" in name for name in names)

    ones = record.series.model_copy(update={"intermediate_loss": (1.0,) * 300})
    changed = record.model_copy(update={"series": ones})
    (number,) = [n for n in compare_records(record, changed, ()) if "intermediate" in n.what]
    assert number.verdict == "FAIL"


def test_other_bits_fail_where_nothing_may_change_them(record: Record):
    numbers = tuple(compare_records(record, shifted(record, 0.01), ()))
    assert overall(numbers) == "FAIL"
    (loss,) = [number for number in numbers if "matching loss" in number.what]
    assert loss.reason.startswith("part at iteration 8")


@pytest.mark.parametrize(("by", "verdict"), [(0.05, "PASS"), (25.0, "FAIL")])
def test_other_bits_are_tested_where_something_may_change_them(record: Record, by, verdict):
    numbers = tuple(compare_records(record, shifted(record, by), ("device",)))
    assert overall(numbers) == verdict
    assert "Welch's test" in numbers[0].reason
    (loss,) = [number for number in numbers if "matching loss" in number.what]
    assert loss.verdict == "NOT COMPARABLE"


def test_a_single_network_of_other_bits_decides_nothing(record: Record):
    def with_one_network(full: Record) -> Record:
        accuracy = full.results.accuracy
        assert accuracy is not None
        alone = accuracy.model_copy(update={"values": accuracy.values[:1], "n": 1, "std": 0.0})
        results = full.results.model_copy(update={"accuracy": alone})
        return full.model_copy(update={"results": results})

    numbers = tuple(
        compare_records(
            with_one_network(record), with_one_network(shifted(record, 1.0)), ("device",)
        )
    )
    assert numbers[0].verdict == "NOT COMPARABLE"


def test_a_run_that_ends_otherwise_fails(record: Record):
    gone = record.model_copy(update={"outcome": Outcome(status="diverged", iteration=9)})
    (ending,) = [n for n in compare_records(record, gone, ()) if n.what == "how it ended"]
    assert (ending.verdict, ending.reason) == ("FAIL", "done there, diverged at iteration 9 here")


@pytest.mark.parametrize(
    ("recorded", "current", "reasons"),
    [
        (("avx avx2", {}), ("avx avx2", {}), []),
        (
            ("avx avx2", {}),
            ("avx avx2 avx512f", {}),
            ["instruction set: nothing more in the record, avx512f here"],
        ),
        (("avx fma", {}), ("avx2 avx", {}), ["instruction set: fma in the record, avx2 here"]),
        (
            ("avx", {"MKL_CBWR": "COMPATIBLE"}),
            ("avx", {"ATEN_CPU_CAPABILITY": "default"}),
            [
                "ATEN_CPU_CAPABILITY: none in the record, default here",
                "MKL_CBWR: COMPATIBLE in the record, none here",
            ],
        ),
        ((None, None), ("avx", {}), []),
        (
            (None, None),
            ("avx", {"MKL_CBWR": "AVX"}),
            ["MKL_CBWR: unknown in the record, AVX here"],
        ),
    ],
)
def test_another_instruction_set_may_change_bits(record: Record, recorded, current, reasons):
    made = {"mixed_routes": False, "status": "computed"}
    steps = [step.model_copy(update=made) for step in record.steps]
    record = record.model_copy(update={"steps": tuple(steps)})
    before, now = (
        elsewhere(record, instruction_set=extensions, variables=variables)
        for extensions, variables in (recorded, current)
    )
    assert list(reasons_bits_may_differ(before, now)) == reasons


def test_what_may_change_bits_is_named(record: Record):
    made = {"mixed_routes": False, "status": "computed"}
    same = [step.model_copy(update=made) for step in record.steps]
    record = record.model_copy(update={"steps": tuple(same)})
    assert list(reasons_bits_may_differ(record, record)) == []
    assert list(reasons_bits_may_differ(record, elsewhere(record, device="Another CPU"))) == [
        "device: Invented CPU in the record, Another CPU here"
    ]
    packages = record.environment.packages | {"torch": "3.0"}
    assert "torch: 2.11.0" in next(
        reasons_bits_may_differ(record, elsewhere(record, packages=packages))
    )
    dirty = elsewhere(record, commit="0" * 40 + "-dirty")
    assert "uncommitted changes" in next(reasons_bits_may_differ(dirty, dirty))
    reused = [step.model_copy(update={"status": "reused"}) for step in same]
    reason = next(
        reasons_bits_may_differ(record.model_copy(update={"steps": tuple(reused)}), record)
    )
    assert "the machine that made these artifacts of the record is not known" in reason
    threads = record.steps[1].route.model_copy(update={"threads": 7})
    steps = list(record.steps)
    steps[1] = steps[1].model_copy(update={"route": threads})
    (reason,) = reasons_bits_may_differ(record, record.model_copy(update={"steps": tuple(steps)}))
    assert reason == "step experts was computed on another route"
