"""Binary files for libraries to write, which never see a write fail."""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


class DeferringFile(io.RawIOBase):
    """An existing file that is written and read; a failure is raised when its block ends.

    HDF5, torch and Pillow answer a failed write with errors of their own that do not say why it
    failed, and HDF5 keeps trying to write what it has left. Here all writes seem to succeed, but
    after the first failure nothing more is written.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.raw = path.open("r+b", buffering=0)
        self.fault: OSError | None = None
        self.position, self.size = 0, self.raw.seek(0, os.SEEK_END)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.close()
        # What a library says after a failure is a consequence of it.
        if self.fault is not None and (error is None or isinstance(error, Exception)):
            raise self.fault

    def close(self) -> None:
        """Close the file; a failure is kept for the end of the block."""
        try:
            self.raw.close()
        except OSError as error:
            self.fault = self.fault or error
        super().close()

    def defer(self, action: Callable[[], object]) -> None:
        """Perform an action unless one has failed before; keep its failure."""
        if self.fault is None:
            try:
                action()
            except OSError as error:
                self.fault = error

    def readable(self) -> bool:
        """Return True: HDF5 reads again what it wrote."""
        return True

    def writable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position, as if nothing had failed."""
        return self.position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position, as if nothing had failed."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: self.size}[whence]
        self.position = base + offset
        return self.position

    def write(self, data: Any) -> int:
        """Write all of `data` at the position."""
        view = memoryview(data).cast("B")
        self.defer(lambda: self.write_at(self.position, view))
        self.position += len(view)
        self.size = max(self.size, self.position)
        return len(view)

    def write_at(self, position: int, view: memoryview) -> None:
        """Write bytes at a position; the system may take them in several parts."""
        self.raw.seek(position)
        while view:
            view = view[self.raw.write(view) :]

    def readinto(self, buffer: Any) -> int:
        """Read from the position; what was not written because of a failure is zero."""
        view = memoryview(buffer).cast("B")[: max(0, self.size - self.position)]
        view[:] = bytes(len(view))
        self.defer(lambda: self.read_at(self.position, view))
        self.position += len(view)
        return len(view)

    def read_at(self, position: int, view: memoryview) -> None:
        """Read bytes at a position until a buffer is full or the file ends."""
        self.raw.seek(position)
        while view and (count := self.raw.readinto(view)):
            view = view[count:]

    def truncate(self, size: int | None = None) -> int:
        """Cut the file, or lengthen it by zeros."""
        self.size = self.position if size is None else size
        self.defer(lambda: self.raw.truncate(self.size))
        return self.size
