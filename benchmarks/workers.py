"""Work done by the engine's pool of processes, and the memory that the processes take."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ddspec.engine.control import Control
from ddspec.engine.machine.processes import ProcessPool, can_fork

ItemType = TypeVar("ItemType")
MappedType = TypeVar("MappedType")


@dataclass
class WorkerMemory:
    """The peak memory of all worker processes together since it was set to 0."""

    bytes: int = 0


WORKER_MEMORY = WorkerMemory()


def map_in_processes(
    work: Callable[[ItemType, Control], MappedType], tasks: Sequence[ItemType], processes: int
) -> list[MappedType]:
    """Return the result of `work` for each task, up to `processes` at once."""
    if processes == 1 or not can_fork():
        return [work(task, Control()) for task in tasks]
    pool: ProcessPool[tuple[int, ItemType], MappedType] = ProcessPool(
        lambda numbered, control: work(numbered[1], control), Control(), lambda task, progress: None
    )
    waiting, results = list(enumerate(tasks)), {}
    try:
        while waiting or pool.running:
            while waiting and len(pool.running) < processes:
                pool.start(waiting.pop(0))
            for ended in pool.ended():
                if ended.error is not None:
                    raise ended.error
                results[ended.task[0]] = ended.result
                together = len(pool.workers) * ended.memory_bytes
                WORKER_MEMORY.bytes = max(WORKER_MEMORY.bytes, together)
    finally:
        pool.stop()
    return [results[number] for number in range(len(tasks))]
