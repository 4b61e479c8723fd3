"""Numbers as the page writes them: digits, signs, durations, sizes."""

from collections.abc import Sequence

PLUS_MINUS = "\N{PLUS-MINUS SIGN}"
MINUS = "\N{MINUS SIGN}"
NO_BREAK = "\N{NO-BREAK SPACE}"


def fixed(value: float, digits: int = 2) -> str:
    """Return a number with that many decimals."""
    return f"{value:.{digits}f}".replace("-", MINUS)


def signed(value: float, digits: int = 2) -> str:
    """Return a difference, always with its sign."""
    return f"{value:+.{digits}f}".replace("-", MINUS)


def significant(value: float) -> str:
    """Return a number with four significant digits."""
    return f"{value:.4g}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")


def mean_and_std(mean: float, std: float, n: int, digits: int = 2) -> str:
    """Return mean and standard deviation; a single value has none."""
    words = fixed(mean, digits)
    return f"{words}{NO_BREAK}{PLUS_MINUS}{NO_BREAK}{fixed(std, digits)}" if n > 1 else words


def duration(seconds: float, space: str = NO_BREAK) -> str:
    """Return a duration in seconds, in minutes, or in hours."""
    if seconds < 59.95:
        return f"{seconds:.1f}{space}s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s".replace(" ", space)
    return f"{whole // 3600:,} h {whole % 3600 // 60:02d} min".replace(" ", space)


def size(count: float, space: str = NO_BREAK) -> str:
    """Return a number of bytes in decimal units, as disks and papers count them."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5 or (unit == "B" and count < 1000):
            digits = 0 if unit == "B" or count >= 99.95 else 1
            return f"{count:.{digits}f}{space}{unit}"
        count /= 1000
    return f"{count:,.1f}{space}TB"


def plain_duration(seconds: float) -> str:
    """Return a duration for a terminal, with plain spaces."""
    return duration(seconds, " ")


def plain_size(count: float) -> str:
    """Return a number of bytes for a terminal, with a plain space."""
    return size(count, " ")


def plural(count: int, singular: str, many: str = "") -> str:
    """Return a count with its noun."""
    return f"{count:,} {singular if count == 1 else many or singular + 's'}"


def comma_separated(values: Sequence[float], digits: int = 2) -> str:
    """Return single values, one after the other."""
    return ", ".join(fixed(value, digits) for value in values)


def evenly_spaced_indices(count: int, most: int) -> list[int]:
    """Return at most `most` of `count` indices, evenly spread, including the first and last."""
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]
