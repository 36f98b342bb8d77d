"""The model of a profile that all writers are fed by: samples, stacks and names by their numbers.

Writers ask for sums, or walk over columns; nobody makes an object for each sample.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kperf.errors import Error, error

if TYPE_CHECKING:
    from kperf.data import EventInfo, PmuData
    from kperf.function_nodes import FunctionNodes
    from kperf.machine import Machine
    from kperf.samples import HotRow, SampleData
    from kperf.symbols.files import Mapping as FileMapping
    from kperf.symbols.symbol import Symbol
    from kperf.tasks import TaskEvent


class Profile:
    """What one read gave, as writers need it.

    data     what was read
    lines    whether source lines are wanted where the format has them on demand only
    command  what was recorded; empty where it is not known
    """

    def __init__(self, data: PmuData, *, lines: bool = False, command: Sequence[str] = ()) -> None:
        if data.is_freed:
            raise error(
                Error.DATA_FREED, "this data was freed", hint="write it before PmuData.free()"
            )
        self.data = data
        self.lines = lines
        self.command = tuple(command)

    @property
    def has_samples(self) -> bool:
        """Whether these are samples; counts have no stacks, no times and no place."""
        from kperf.samples import SampleData

        return isinstance(self.data, SampleData)

    @property
    def samples(self) -> SampleData:
        """The data as samples. Raises `KperfError` where these are counts."""
        from kperf.samples import SampleData

        if isinstance(self.data, SampleData):
            return self.data
        raise error(
            Error.INVALID_ARGUMENT,
            "these are counts, which have no stacks to write",
            hint="write them as dump, or sample",
        )

    @property
    def events(self) -> Sequence[EventInfo]:
        """What the `event` column indexes."""
        return self.data.events

    @property
    def sampled(self) -> list[int]:
        """The numbers of the events that samples are of: not of what only tells of processes."""
        return [number for number, event in enumerate(self.events) if event.name != "dummy"]

    @property
    def machine(self) -> Machine:
        """Where it was recorded."""
        return self.samples.machine

    @property
    def has_call_stacks(self) -> bool:
        return self.samples.shown.call_stack

    @property
    def branch_filter(self) -> int:
        """Which branches were asked for; 0: none."""
        return self.samples.shown.branches

    def lost(self, event: int) -> int:
        """How many samples of an event are missing."""
        return self.samples.lost(event)

    # ---- frames ----

    @property
    def symbols(self) -> list[Symbol]:
        """The symbol of each frame, frame 0 being none; behind them those of inlined functions."""
        return self.samples.stacks.symbols

    def frames(self, stack: int) -> list[int]:
        """The frames of a stack, innermost first: one an address."""
        return self.samples.stacks.frame_numbers(stack)

    def functions(self, stack: int) -> list[int]:
        """The functions of a stack, innermost first, as numbers of `symbols`.

        They are its frames, but for frames that hold inlined functions: there, each has its own,
        and all but the last one are `inlined`.
        """
        return self.samples.stacks.function_numbers(stack)

    def function_nodes(self) -> FunctionNodes:
        """All stacks as one tree of functions."""
        from kperf.function_nodes import function_nodes

        stacks = self.samples.stacks
        return function_nodes(*stacks.nodes, stacks.inlined)

    @property
    def inlined(self) -> Mapping[int, Sequence[int]]:
        """Of frames that hold inlined functions: these from the innermost out."""
        return self.samples.stacks.inlined

    @property
    def addresses(self) -> Sequence[int]:
        """Of each frame its address."""
        return self.samples.stacks.addresses

    def kernel_addresses(self) -> list[bool]:
        """Of each frame whether it is the kernel's; looks no symbol up."""
        return self.samples.stacks.kernel_addresses()

    def kernel_frames(self) -> list[bool]:
        """Of each of `symbols` whether it is the kernel's."""
        return self.samples.stacks.kernel_frames()

    def comm(self, number: int) -> str:
        """The name of a thread."""
        return self.samples.stacks.comms[number]

    # ---- samples ----

    def rows(self, *names: str) -> Iterator[tuple[Any, ...]]:
        """Some columns of the samples side by side, in order of time."""
        columns = self.samples.columns()
        return zip(*(columns[name] for name in names))

    @property
    def times(self) -> Sequence[int]:
        """When each sample was taken, in order."""
        times: Sequence[int] = self.samples.columns()["time"]
        return times

    def sums_by_stack(self) -> list[HotRow]:
        """The samples added up by event, thread name and stack."""
        from kperf.samples import HotKey

        return self.samples.hot(HotKey.EVENT | HotKey.COMM | HotKey.STACK)

    def extras(self) -> Iterator[bytes] | None:
        """Of each sample its raw data or branches; None where neither was recorded."""
        return self.samples.extras

    # ---- processes and what they map ----

    def task_events(self) -> Iterator[TaskEvent]:
        """What happened to processes, in order of time."""
        return self.samples.task_events()

    def string_bytes(self, number: int) -> bytes:
        """A name in a `TaskEvent`."""
        return self.samples.stacks.string_bytes(number)

    def mapping(self, number: int) -> FileMapping:
        """A mapping in a `TaskEvent`."""
        found = self.samples.stacks.mapping(number)
        assert found is not None, number
        return found

    def mapping_path(self, number: int) -> bytes:
        """The path of a mapping, which may be no UTF-8."""
        return self.samples.stacks.mapping_path(number)

    def mappings_hit(self) -> set[int]:
        """The numbers of the mappings that frames lie in."""
        return self.samples.stacks.mappings_hit()
