"""A profile of chosen names and stacks: what no program on this machine happens to be called."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any, NamedTuple

from kperf.data import EventInfo, PmuData
from kperf.export.profile import Profile
from kperf.function_nodes import FunctionNodes
from kperf.machine import Machine
from kperf.samples import HotRow
from kperf.symbols.symbol import Symbol

KERNEL = "[kernel.kallsyms]"


class Sample(NamedTuple):
    """One sample; the stack's functions innermost first, those of the kernel begin with k:"""

    stack: tuple[str, ...]
    comm: str = "program"
    pid: int = 100
    tid: int = 100
    cpu: int = 0
    period: int = 1
    event: int = 0
    time: int = 1000


class MadeProfile(Profile):
    """Answers as a profile of these samples would."""

    def __init__(
        self,
        samples: Sequence[Sample],
        events: Sequence[str] = ("cycles",),
        module: str = "/usr/bin/program",
        lines: bool = False,
    ) -> None:
        super().__init__(PmuData(), lines=lines)
        self._made = samples
        self._events = [EventInfo(name, -1) for name in events]
        self._stacks = [(), *dict.fromkeys(sample.stack for sample in samples)]
        self._names = ["", *dict.fromkeys(name for stack in self._stacks for name in stack)]
        self._comms = list(dict.fromkeys(sample.comm for sample in samples))
        self._module = module

    @property
    def has_samples(self) -> bool:
        return True

    @property
    def events(self) -> Sequence[EventInfo]:
        return self._events

    @property
    def symbols(self) -> list[Symbol]:
        symbols = [
            Symbol(0x1000 + i, KERNEL if name.startswith("k:") else self._module, name, offset=i)
            for i, name in enumerate(self._names)
        ]
        for symbol in symbols:
            symbol.inlined = symbol.symbolName.startswith("i:")
        return symbols

    def frames(self, stack: int) -> list[int]:
        return [n for n in self.functions(stack) if not self._names[n].startswith("i:")]

    def functions(self, stack: int) -> list[int]:
        return [self._names.index(name) for name in self._stacks[stack]]

    def kernel_frames(self) -> list[bool]:
        return [name.startswith("k:") for name in self._names]

    def comm(self, number: int) -> str:
        return self._comms[number]

    @property
    def machine(self) -> Machine:
        return Machine()

    @property
    def addresses(self) -> list[int]:
        return [symbol.addr for symbol in self.symbols]

    @property
    def inlined(self) -> dict[int, Sequence[int]]:
        return {}

    @property
    def times(self) -> list[int]:
        return [sample.time for sample in self._made]

    def kernel_addresses(self) -> list[bool]:
        return self.kernel_frames()

    def mappings_hit(self) -> set[int]:
        return set()

    def function_nodes(self) -> FunctionNodes:
        parents, functions, ends = [0], [0], [0]
        for stack in self._stacks[1:]:
            node = 0
            for name in reversed(stack):
                parents.append(node)
                functions.append(self._names.index(name))
                node = len(parents) - 1
            ends.append(node)
        return FunctionNodes(parents, functions, ends, ends)

    def rows(self, *names: str) -> Iterator[tuple[Any, ...]]:
        for sample in self._made:
            numbers = {
                "comm": self._comms.index(sample.comm),
                "stack": self._stacks.index(sample.stack),
            }
            yield tuple(
                numbers[name] if name in numbers else getattr(sample, name) for name in names
            )

    def sums_by_stack(self) -> list[HotRow]:
        counts: Counter[tuple[int, int, int]] = Counter()
        periods: Counter[tuple[int, int, int]] = Counter()
        for event, comm, stack, period in self.rows("event", "comm", "stack", "period"):
            counts[event, comm, stack] += 1
            periods[event, comm, stack] += period
        return [
            HotRow(n, periods[event, comm, stack], event, 0, stack, comm, 0, 0, 0)
            for (event, comm, stack), n in counts.items()
        ]


def written(form: str, profile: Profile) -> bytes:
    """What a format's writer makes of a profile."""
    out = io.BytesIO()
    import_module(f"kperf.export.{form}").write(profile, out)
    return out.getvalue()
