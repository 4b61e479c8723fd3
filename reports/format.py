"""Numbers as text for pages and the terminal: digits, signs, durations, sizes."""

from collections.abc import Sequence
from datetime import datetime

from ddspec.dsl.record.record import Accuracy, Record

PLUS_MINUS = "\N{PLUS-MINUS SIGN}"
MINUS = "\N{MINUS SIGN}"
NO_BREAK = "\N{NO-BREAK SPACE}"
MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


def fixed(value: float, digits: int = 2) -> str:
    """Return a number with `digits` decimals."""
    return f"{value:.{digits}f}".replace("-", MINUS)


def signed(value: float, digits: int = 2) -> str:
    """Return a number with `digits` decimals, always with its sign."""
    return f"{value:+.{digits}f}".replace("-", MINUS)


def significant(value: float) -> str:
    """Return a number with at most four significant digits."""
    return f"{value:.4g}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")


def mean_and_std(mean: float, std: float, n: int, digits: int = 2) -> str:
    """Return "mean +- std" of n values; the mean alone if n is 1."""
    mean_text = fixed(mean, digits)
    if n <= 1:
        return mean_text
    return f"{mean_text}{NO_BREAK}{PLUS_MINUS}{NO_BREAK}{fixed(std, digits)}"


def ipc_words(record: Record) -> str:
    """Return the images per class, with the parts of each if they are partitioned.

    For an imported set these are the images as ddspec stored them where it was made.
    """
    ipc, partition = record.plan.distill.synthetic.ipc, parts_per_side(record)
    if record.plan.distill.synthetic.partition == 1:
        ipc //= partition**2
    return f"{ipc:,} of {partition}x{partition} parts" if partition > 1 else f"{ipc:,}"


def parts_per_side(record: Record) -> int:
    """Return f, if f x f of the images that networks see are stored in the room of one."""
    imported = record.imported_set
    return record.plan.distill.synthetic.partition * (imported.partition if imported else 1)


def accuracy_words(accuracy: Accuracy) -> str:
    """Return mean, standard deviation and number of networks."""
    return f"{mean_and_std(accuracy.mean, accuracy.std, accuracy.n)} (n = {accuracy.n})"


def duration(seconds: float, space: str = NO_BREAK) -> str:
    """Return a duration in seconds, minutes and seconds, or hours and minutes."""
    if seconds < 59.95:
        return f"{seconds:.1f}{space}s"
    rounded = round(seconds)
    if rounded < 3600:
        return f"{rounded // 60} min {rounded % 60:02d} s".replace(" ", space)
    return f"{rounded // 3600:,} h {rounded % 3600 // 60:02d} min".replace(" ", space)


def size(count: float, space: str = NO_BREAK) -> str:
    """Return a number of bytes in decimal units (1 kB = 1000 B), from B to TB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5 or (unit == "B" and count < 1000):
            digits = 0 if unit == "B" or count >= 99.95 else 1
            return f"{count:.{digits}f}{space}{unit}"
        count /= 1000
    return f"{count:,.1f}{space}TB"


def date_text(date: str) -> str:
    """Return a record's date in words, such as "3 February 2031, 04:05 UTC".

    A text that is not such a date is returned as it is.
    """
    try:
        moment = datetime.strptime(date, "%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        return date
    # Not strftime: the names of months follow the locale.
    return f"{moment.day} {MONTHS[moment.month - 1]} {moment.year}, {moment:%H:%M} UTC"


def day_text(date: str) -> str:
    """Return the day of a record's date in short, such as "3 Feb 2031"."""
    words = date_text(date)
    if words == date:
        return date
    day, month, year = words.partition(",")[0].split()
    return f"{day} {month[:3]} {year}"


def plain_duration(seconds: float) -> str:
    """Return a duration for the terminal, with ordinary spaces."""
    return duration(seconds, " ")


def plain_size(count: float) -> str:
    """Return a number of bytes for the terminal, with an ordinary space."""
    return size(count, " ")


def plural(count: int, singular: str, many: str = "") -> str:
    """Return a count with its noun; `many` is an irregular plural."""
    return f"{count:,} {singular if count == 1 else many or singular + 's'}"


def comma_separated(values: Sequence[float], digits: int = 2) -> str:
    """Return numbers with `digits` decimals, separated by commas."""
    return ", ".join(fixed(value, digits) for value in values)


def evenly_spaced_indices(count: int, most: int) -> list[int]:
    """Return at most `most` evenly spaced indices from 0 to count - 1, with both ends.

    `most` must be at least 2 if `count` is larger.
    """
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]


def progress_count(done: float, total: int, unit: str) -> str:
    """Return the done units of a step, with one decimal within a unit: "3.2/60 epochs"."""
    # Never rounded up: 60 would say that the step has ended.
    units = f"{done:.0f}" if done == int(done) else f"{int(10 * done) / 10:.1f}"
    return f"{units}/{total} {unit}".rstrip()
