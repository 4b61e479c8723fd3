"""Numbers as the page writes them: digits, signs, durations, sizes."""

from collections.abc import Sequence

PLUS_MINUS = "\N{PLUS-MINUS SIGN}"
MINUS = "\N{MINUS SIGN}"
NO_BREAK = "\N{NO-BREAK SPACE}"


def fixed(value: float, digits: int = 2) -> str:
    """A number with that many decimals."""
    return f"{value:.{digits}f}".replace("-", MINUS)


def signed(value: float, digits: int = 2) -> str:
    """A difference, its sign always written."""
    return f"{value:+.{digits}f}".replace("-", MINUS)


def significant(value: float) -> str:
    """Four significant digits."""
    return f"{value:.4g}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")


def spread(mean: float, std: float, n: int, digits: int = 2) -> str:
    """Mean and standard deviation; a single value has none."""
    said = fixed(mean, digits)
    return f"{said}{NO_BREAK}{PLUS_MINUS}{NO_BREAK}{fixed(std, digits)}" if n > 1 else said


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, whichever reads best."""
    if seconds < 59.95:
        return f"{seconds:.1f}{NO_BREAK}s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s".replace(" ", NO_BREAK)
    return f"{whole // 3600:,} h {whole % 3600 // 60:02d} min".replace(" ", NO_BREAK)


def size(count: float) -> str:
    """Bytes in binary units."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.{0 if unit == 'B' else 1}f}{NO_BREAK}{unit}"
        count /= 1024
    return f"{count:,.1f}{NO_BREAK}TiB"


def plural(count: int, one: str, many: str = "") -> str:
    """A count with its noun."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def listed(values: Sequence[float], digits: int = 2) -> str:
    """Single values, one after the other."""
    return ", ".join(fixed(value, digits) for value in values)
