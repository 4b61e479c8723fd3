"""What was read of a dataset: from where, which files, and how they were understood."""

from typing import Annotated

from pydantic import Strict

from ddspec.dsl.document import Document
from ddspec.dsl.facts.datasets import FilesAccount


class DataReading(Document):
    """The source of a dataset's images, and an account of its files."""

    source: str = ""
    """Name of the folder or the files that were read, below the data folder."""
    files: FilesAccount | None = None
    """Which files are images and which were passed over; None if it is not kept as image files."""
    notes: Annotated[tuple[str, ...], Strict(False)] = ()
    """How the files were understood, where that does not go without saying."""

    @property
    def text(self) -> str:
        """The source, the notes and the files passed over, for the end of a line."""
        parts = [f" from {self.source}"] if self.source else []
        parts += [f"; {note}" for note in self.notes]
        if self.files is not None and self.files.passed_over:
            parts.append(f"; passed over: {self.files.text}")
        return "".join(parts)
