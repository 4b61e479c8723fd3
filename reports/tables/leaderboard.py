"""The leaderboard: synthetic sets of several methods by the networks that judge them.

A leaderboard holds only runs with equal data and evaluation protocol. The best cell of a column is
marked only if Welch's test, adjusted by Holm's method, tells it apart from every other cell.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from ddspec.dsl.record.record import Accuracy, Record
from ddspec.dsl.record.statistics import TEST_LEVEL, holm, welch
from ddspec.dsl.table_text import csv_text
from ddspec.reports.format import PLUS_MINUS, fixed, ipc_words
from ddspec.reports.tables.scores import has_hard_labels


@dataclass(frozen=True)
class Cell:
    """The accuracy of one set on one network."""

    accuracy: Accuracy
    best: bool
    """Whether it is told apart from all others of its column."""

    @property
    def text(self) -> str:
        """Mean and standard deviation."""
        spread = f" {PLUS_MINUS} {fixed(self.accuracy.std)}" if self.accuracy.n > 1 else ""
        return fixed(self.accuracy.mean) + spread


@dataclass(frozen=True)
class LeaderboardRow:
    """One set in the leaderboard."""

    label: str
    ipc: str
    labels: str
    """Whether its labels are hard or soft."""
    cells: tuple[Cell | None, ...]
    """By network; None where it was not evaluated."""
    mean: str
    """Over the networks of the leaderboard; empty if one is missing, likewise the next."""
    worst: str


@dataclass(frozen=True)
class Leaderboard:
    """Sets that are judged alike."""

    judged: str
    """On what and by what, in words."""
    networks: tuple[str, ...]
    rows: tuple[LeaderboardRow, ...]

    @property
    def heads(self) -> tuple[str, ...]:
        """The names of the columns."""
        over = ("mean", "worst") if len(self.networks) > 1 else ()
        return ("set", "ipc", "labels", *self.networks, *over)

    def texts(self) -> list[list[str]]:
        """Return the rows as texts."""
        over = len(self.networks) > 1
        return [
            [
                row.label,
                row.ipc,
                row.labels,
                *("" if cell is None else cell.text for cell in row.cells),
                *((row.mean, row.worst) if over else ()),
            ]
            for row in self.rows
        ]


def leaderboard(
    labels: Sequence[str], records: Sequence[Record], judged: str
) -> Leaderboard | None:
    """Return the leaderboard of records that are judged alike; None if none was evaluated."""
    networks = tuple(dict.fromkeys(n for record in records for n in record.results.per_network))
    if not networks:
        return None
    columns = [best_cells([r.results.per_network.get(name) for r in records]) for name in networks]
    shared = [column for column in columns if all(column)]
    rows = []
    for number, (label, record) in enumerate(zip(labels, records, strict=True)):
        cells = tuple(column[number] for column in columns)
        whole = [cell.accuracy.mean for cell in cells if cell is not None]
        is_whole = len(whole) == len(networks)
        row = LeaderboardRow(
            label=label,
            ipc=ipc_words(record),
            labels="hard" if has_hard_labels(record) else "soft",
            cells=cells,
            mean=fixed(fmean(whole)) if is_whole else "",
            worst=fixed(min(whole)) if is_whole else "",
        )
        ranks = [cell.accuracy.mean for column in shared if (cell := column[number]) is not None]
        rows.append((fmean(ranks) if ranks else 0.0, row))
    rows.sort(key=lambda ranked: -ranked[0])
    return Leaderboard(judged, networks, tuple(row for _, row in rows))


def best_cells(column: Sequence[Accuracy | None]) -> list[Cell | None]:
    """Return the cells of a network, of which the best is marked if it is told apart."""
    present = [accuracy for accuracy in column if accuracy is not None]
    first = max(present, key=lambda accuracy: accuracy.mean)
    others = [accuracy for accuracy in present if accuracy is not first]
    tests = [test for other in others if (test := welch(first, other)) is not None]
    adjusted = holm([test.p for test in tests])
    is_best = bool(others) and len(tests) == len(others) and all(p < TEST_LEVEL for p in adjusted)
    return [
        None if accuracy is None else Cell(accuracy, is_best and accuracy is first)
        for accuracy in column
    ]


def leaderboards_text(boards: Sequence[Leaderboard], suffix: str) -> str:
    """Return leaderboards as Markdown (.md), LaTeX (.tex) or CSV (.csv)."""
    match suffix:
        case ".md":
            return "\n\n".join(map(markdown, boards)) + "\n"
        case ".tex":
            return "\n\n".join(map(latex, boards)) + "\n"
        case ".csv":
            return csv(boards)
        case _:
            raise ValueError(f"no leaderboard is written as {suffix}")


SUFFIXES = (".md", ".tex", ".csv")


def markdown(board: Leaderboard) -> str:
    """Return a leaderboard as a table of Markdown, the best cells bold."""
    rows = [
        [
            f"**{text}**" if is_best else text
            for text, is_best in zip(texts, bests(row), strict=True)
        ]
        for texts, row in zip(board.texts(), board.rows, strict=True)
    ]
    lines = [board.heads, ["---"] * len(board.heads), *rows]
    table = "\n".join("| " + " | ".join(map(markdown_text, line)) + " |" for line in lines)
    return f"{markdown_text(board.judged)}\n\n{table}"


def bests(row: LeaderboardRow) -> list[bool]:
    """Return which of a row's texts are marked as the best of their column."""
    over = 2 * (len(row.cells) > 1)
    marks = [cell is not None and cell.best for cell in row.cells]
    return [False] * 3 + marks + [False] * over


def markdown_text(text: str) -> str:
    """Return a text that is one cell, whatever it contains."""
    return " ".join(text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").split())


LATEX: dict[str, str] = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    PLUS_MINUS: r"$\pm$",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
}


def latex_text(text: str) -> str:
    """Return a text without meaning to LaTeX, on one line."""
    return " ".join("".join(LATEX.get(letter, letter) for letter in text).split())


def latex(board: Leaderboard) -> str:
    """Return a leaderboard as a table of LaTeX with the package booktabs, the best cells bold."""
    lines = [
        f"% {' '.join(board.judged.split())}",
        r"\begin{tabular}{l" + "r" * (len(board.heads) - 1) + "}",
        r"\toprule",
        " & ".join(map(latex_text, board.heads)) + r" \\",
        r"\midrule",
    ]
    for texts, row in zip(board.texts(), board.rows, strict=True):
        cells = [
            rf"\textbf{{{latex_text(text)}}}" if is_best else latex_text(text)
            for text, is_best in zip(texts, bests(row), strict=True)
        ]
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def csv(boards: Sequence[Leaderboard]) -> str:
    """Return leaderboards as CSV: a row per set and network, with every number."""
    head = ["judged", "set", "ipc", "labels", "network", "mean", "std", "n", "best", "values"]
    rows = [
        [
            board.judged,
            row.label,
            row.ipc,
            row.labels,
            network,
            f"{cell.accuracy.mean:.6g}",
            f"{cell.accuracy.std:.6g}",
            str(cell.accuracy.n),
            "yes" if cell.best else "",
            " ".join(f"{value:.6g}" for value in cell.accuracy.values),
        ]
        for board in boards
        for row in board.rows
        for network, cell in zip(board.networks, row.cells, strict=True)
        if cell is not None
    ]
    return csv_text(head, rows)
