"""The page of a run that was done again: every number beside the recorded one."""

from pathlib import Path

from ddspec.dsl.atomic_write import write_text
from ddspec.dsl.record.file_names import REPORT_HTML, REPRODUCTION_HTML
from ddspec.dsl.record.reproduction import Measured, Reproduction
from ddspec.reports.embed import json_for_script
from ddspec.reports.format import fixed, spread
from ddspec.reports.pages.template import page_template


def render_reproduction(folder: Path, found: Reproduction) -> Path:
    """Write reproduction.html into the folder of a reproduction; returns its path."""
    text = page_template("reproduction.html").render(
        found=found,
        rows=[
            (
                one.what,
                measured_text(one.recorded),
                measured_text(one.found),
                one.verdict,
                one.reason,
            )
            for one in found.numbers
        ],
        environment=environment_difference_rows(found),
        address=f"runs/{found.folder}/{REPORT_HTML}",
        document_json=json_for_script(found.model_dump_json()),
    )
    return write_text(folder / REPRODUCTION_HTML, text)


def measured_text(number: Measured | None) -> str:
    """A number with its spread and how many networks it is over."""
    if number is None:
        return ""
    if number.std is None:
        return fixed(number.mean)
    words = spread(number.mean, number.std, number.n or 2)
    return f"{words} (n = {number.n})" if number.n else words


def environment_difference_rows(found: Reproduction) -> list[tuple[str, str, str]]:
    """Both machines side by side; empty where the numbers are a paper's."""
    there, here = found.recorded_in, found.found_in
    if there is None:
        return []
    rows = [
        ("ddspec", there.ddspec, here.ddspec),
        ("commit", there.commit or "", here.commit or ""),
        ("Python", there.python, here.python),
        ("system", there.system, here.system),
        ("device", there.device, here.device),
        ("processor cores", str(there.cores), str(here.cores)),
    ]
    names = dict.fromkeys([*there.packages, *here.packages])
    return rows + [
        (name, there.packages.get(name, ""), here.packages.get(name, "")) for name in names
    ]
