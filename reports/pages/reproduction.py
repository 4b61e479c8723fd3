"""The page of a reproduction: every number beside the recorded one."""

from pathlib import Path

from ddspec.dsl.atomic_write import write_text
from ddspec.dsl.record.file_names import REPORT_HTML, REPRODUCTION_HTML
from ddspec.dsl.record.reproduction import NOT_COMPARED, Measured, Reproduction
from ddspec.reports.embed import json_for_script
from ddspec.reports.format import date_text, fixed, mean_and_std, plural
from ddspec.reports.pages.template import page_template


def render_reproduction(folder: Path, reproduction: Reproduction) -> Path:
    """Write reproduction.html into the folder of a reproduction; return its path."""
    text = page_template("reproduction.html").render(
        reproduction=reproduction,
        date=date_text(reproduction.date),
        counts=verdict_counts(reproduction),
        rows=[
            (
                number.what,
                measured_text(number.recorded),
                measured_text(number.found),
                number.verdict,
                number.reason,
            )
            for number in reproduction.numbers
        ],
        environment=environment_difference_rows(reproduction),
        not_compared=NOT_COMPARED,
        address=f"runs/{reproduction.folder}/{REPORT_HTML}",
        document_json=json_for_script(reproduction.model_dump_json()),
    )
    return write_text(folder / REPRODUCTION_HTML, text)


def verdict_counts(reproduction: Reproduction) -> str:
    """Return how many numbers passed, failed, and could not be compared."""
    verdicts = [number.verdict for number in reproduction.numbers]
    words = {"PASS": "passed", "FAIL": "failed", "NOT COMPARABLE": "not comparable"}
    counts = ", ".join(f"{verdicts.count(v)} {words[v]}" for v in words if v in verdicts)
    return f"{plural(len(verdicts), 'number')}: {counts or 'none to compare'}."


def measured_text(number: Measured | None) -> str:
    """Return a number with its spread and its number of networks."""
    if number is None:
        return ""
    if number.std is None:
        return fixed(number.mean)
    words = mean_and_std(number.mean, number.std, number.n or 2)
    return f"{words} (n = {number.n})" if number.n else words


def environment_difference_rows(reproduction: Reproduction) -> list[tuple[str, str, str]]:
    """Return both machines side by side; empty if the numbers are a paper's."""
    recorded, current = reproduction.recorded_in, reproduction.found_in
    if recorded is None:
        return []
    rows = [
        ("ddspec", recorded.ddspec, current.ddspec),
        ("commit", recorded.commit or "", current.commit or ""),
        ("Python", recorded.python, current.python),
        ("system", recorded.system, current.system),
        ("device", recorded.device, current.device),
        ("processor cores", str(recorded.cores), str(current.cores)),
    ]
    names = dict.fromkeys([*recorded.packages, *current.packages])
    return rows + [
        (name, recorded.packages.get(name, ""), current.packages.get(name, "")) for name in names
    ]
