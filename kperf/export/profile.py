"""The model of a profile that all writers are fed by: samples, stacks and names by their numbers.

Writers ask for sums, or walk over columns; nobody makes an object for each sample.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from kperf.errors import Error, error

if TYPE_CHECKING:
    from kperf.data import EventInfo, PmuData
    from kperf.samples import HotRow, SampleData
    from kperf.symbols.symbol import Symbol


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

    def sums_by_stack(self) -> list[HotRow]:
        """The samples added up by event, thread name and stack."""
        from kperf.samples import HotKey

        return self.samples.hot(HotKey.EVENT | HotKey.COMM | HotKey.STACK)
