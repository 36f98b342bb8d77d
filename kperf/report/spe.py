"""SPE tables: records that were added up in, rows out. Latencies are cycles, shares 0 to 1."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from kperf._core import lib
from kperf.spe.data import Cores, SpeData
from kperf.spe.events import mask
from kperf.spe.operations import SpeOp, operation
from kperf.spe.sources import note_of, source_of
from kperf.spe.sums import Access, Cell, SpeSums, bucket_range
from kperf.symbols.symbol import Symbol

_L1D_MISS, _LLC_MISS = mask("l1d-miss"), mask("llc-miss")
_TLB_WALK, _MISPREDICT = mask("tlb-walk"), mask("mispredict")
_MEMORY = SpeOp.LOAD | SpeOp.STORE


class Latency:
    """A distribution of latencies, by the core's buckets."""

    __slots__ = ("_buckets", "cycles", "samples")

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self.cycles = 0
        self.samples = 0

    def add(self, cell: Cell) -> None:
        if cell.has & lib.KP_SPE_HAS_TOTAL:
            self._buckets[cell.bucket] = self._buckets.get(cell.bucket, 0) + cell.samples
            self.cycles += cell.total
            self.samples += cell.samples

    @property
    def mean(self) -> float | None:
        return self.cycles / self.samples if self.samples else None

    def percentile(self, share: float) -> int | None:
        """The latency that `share` of the records do not exceed, within 1 percent."""
        wanted, below = share * self.samples, 0
        for bucket, samples in sorted(self._buckets.items()):
            below += samples
            if below >= wanted:
                first, end = bucket_range(bucket)
                return (first + end - 1) // 2
        return None


class SymbolLine(NamedTuple):
    """What was sampled in one function. Shares of misses are of its loads and stores, that of
    mispredictions is of its branches; None where it has none."""

    symbol: str
    module: str
    share: float
    samples: int
    latency_mean: float | None
    latency_p99: int | None
    l1d_miss: float | None
    llc_miss: float | None
    tlb_walk: float | None
    mispredict: float | None


class SourceLine(NamedTuple):
    """Loads whose data came from one place. `modified`: another core had modified the line."""

    source: str
    code: int
    share: float
    samples: int
    latency_mean: float | None
    latency_p99: int | None
    modified: bool


class LatencyLine(NamedTuple):
    """Records whose latency is in a range of cycles, the end excluded; kinds by operation."""

    from_cycles: int
    to_cycles: int
    share: float
    samples: int
    loads: int
    stores: int
    branches: int
    others: int


class Touch(NamedTuple):
    """What one thread does to one byte of a cache line."""

    offset: int
    pid: int
    tid: int
    comm: str
    reads: int
    writes: int
    symbols: list[str]


class CacheLine(NamedTuple):
    """One cache line. `sharing`: "false" where threads touch different bytes of it, one of them
    writing; "true" where they share a byte that is written; "read" where nobody writes; "none"
    with one thread."""

    address: int
    physical: bool
    pid: int | None  # whose address it is; None: the same for all
    share: float
    samples: int
    reads: int
    writes: int
    threads: int
    sharing: str
    latency_mean: float
    touches: list[Touch]


class SpeTables(NamedTuple):
    """All tables of a recording, the largest rows first; latencies in their order."""

    symbols: list[SymbolLine]
    sources: list[SourceLine]
    latency: list[LatencyLine]
    cachelines: list[CacheLine]
    samples: int
    unresolved: int
    notes: list[str]


# ---- symbols ----


class _Spot:
    """Sums of one function."""

    def __init__(self) -> None:
        self.latency = Latency()
        self.samples = self.memory = self.branches = 0
        self.events = dict.fromkeys((_L1D_MISS, _LLC_MISS, _TLB_WALK, _MISPREDICT), 0)

    def add(self, cell: Cell) -> None:
        kind = operation(cell.op)
        self.samples += cell.samples
        self.memory += cell.samples if kind & _MEMORY else 0
        self.branches += cell.samples if kind & SpeOp.BRANCH else 0
        self.latency.add(cell)
        for bit in self.events:
            # Another kind of operation is no part of the whole that the share is of.
            counts = kind & (SpeOp.BRANCH if bit == _MISPREDICT else _MEMORY)
            self.events[bit] += cell.samples if counts and cell.events & bit else 0


def _part(some: int, whole: int) -> float | None:
    return some / whole if whole else None


def name_of(symbol: Symbol) -> str:
    """Its name, or its address where it has none."""
    return symbol.symbolName if symbol.resolved else f"{symbol.addr:#x}"


def _symbol_line(key: tuple[str, str], spot: _Spot, total: int) -> SymbolLine:
    return SymbolLine(
        symbol=key[0],
        module=key[1],
        share=spot.samples / total,
        samples=spot.samples,
        latency_mean=spot.latency.mean,
        latency_p99=spot.latency.percentile(0.99),
        l1d_miss=_part(spot.events[_L1D_MISS], spot.memory),
        llc_miss=_part(spot.events[_LLC_MISS], spot.memory),
        tlb_walk=_part(spot.events[_TLB_WALK], spot.memory),
        mispredict=_part(spot.events[_MISPREDICT], spot.branches),
    )


def _symbols(cells: Sequence[Cell], total: int) -> list[SymbolLine]:
    spots: dict[tuple[str, str], _Spot] = {}
    # Where nothing has a name, addresses say more than one row for all of it.
    has_names = any(cell.symbol.resolved for cell in cells)
    for cell in cells:
        name = cell.symbol.symbolName if has_names else name_of(cell.symbol)
        key = (name, cell.symbol.module)
        spots.setdefault(key, _Spot()).add(cell)
    lines = [_symbol_line(key, spot, total) for key, spot in spots.items()]
    return sorted(lines, key=lambda line: (-line.samples, line.symbol, line.module))


# ---- sources ----


def _sources(cells: Sequence[Cell], cores: Cores) -> tuple[list[SourceLine], list[str]]:
    """The sources, and why some are numbers."""
    found: dict[tuple[str, int, bool], Latency] = {}
    samples: dict[tuple[str, int, bool], int] = {}
    notes: dict[str, None] = {}
    for cell in cells:
        if not cell.has & lib.KP_SPE_HAS_SOURCE:
            continue
        midr = cores(cell.cpu)
        place = source_of(midr, cell.source)
        key = (place.name, cell.source, place.modified)
        found.setdefault(key, Latency()).add(cell)
        samples[key] = samples.get(key, 0) + cell.samples
        notes[note_of(midr)] = None
    total = sum(samples.values())
    lines = [
        SourceLine(
            name, code, samples[key] / total, samples[key], latency.mean,
            latency.percentile(0.99), modified,
        )
        for key, latency in found.items()
        for name, code, modified in (key,)
    ]  # fmt: skip
    return sorted(lines, key=lambda line: (-line.samples, line.code)), [n for n in notes if n]


# ---- latencies ----

_KINDS = (SpeOp.LOAD, SpeOp.STORE, SpeOp.BRANCH, SpeOp.OTHER)


def _latencies(cells: Sequence[Cell]) -> list[LatencyLine]:
    """Powers of two, from the shortest latency to the longest."""
    found: dict[int, dict[SpeOp, int]] = {}
    for cell in cells:
        if not cell.has & lib.KP_SPE_HAS_TOTAL:
            continue
        octave = bucket_range(cell.bucket)[0].bit_length()
        kinds = found.setdefault(octave, dict.fromkeys(_KINDS, 0))
        what = operation(cell.op)
        kinds[next((kind for kind in _KINDS if kind & what), SpeOp.OTHER)] += cell.samples
    total = sum(sum(kinds.values()) for kinds in found.values())
    lines = []
    for octave in range(min(found, default=1), max(found, default=0) + 1):
        kinds = found.get(octave, dict.fromkeys(_KINDS, 0))
        samples = sum(kinds.values())
        by_kind = (kinds[kind] for kind in _KINDS)
        first = 1 << octave - 1 if octave else 0
        lines.append(LatencyLine(first, 1 << octave, samples / total, samples, *by_kind))
    return lines


# ---- cache lines ----


def sharing(touches: Collection[Touch]) -> str:
    """How threads share a cache line: "none", "read", "true" or "false"."""
    threads = {touch.tid for touch in touches}
    if len(threads) < 2:
        return "none"
    if not any(touch.writes for touch in touches):
        return "read"
    by_offset: dict[int, list[Touch]] = {}
    for touch in touches:
        by_offset.setdefault(touch.offset, []).append(touch)
    for together in by_offset.values():
        if len({touch.tid for touch in together}) > 1 and any(touch.writes for touch in together):
            return "true"
    return "false"


def _touches(accesses: Collection[Access]) -> list[Touch]:
    found: dict[tuple[int, int], Touch] = {}
    for access in accesses:
        key = (access.offset, access.tid)
        touch = found.get(key) or Touch(
            access.offset, access.pid, access.tid, access.comm, 0, 0, []
        )
        name = name_of(access.symbol)
        found[key] = touch._replace(
            reads=touch.reads + (0 if access.writes else access.samples),
            writes=touch.writes + (access.samples if access.writes else 0),
            symbols=touch.symbols if name in touch.symbols else [*touch.symbols, name],
        )
    return [found[key] for key in sorted(found)]


def _cache_line(key: tuple[int, int, int], accesses: list[Access], total: int) -> CacheLine:
    address, owner, physical = key
    touches = _touches(accesses)
    samples = sum(access.samples for access in accesses)
    return CacheLine(
        address=address,
        physical=bool(physical),
        pid=owner if owner > 0 else None,
        share=samples / total,
        samples=samples,
        reads=sum(touch.reads for touch in touches),
        writes=sum(touch.writes for touch in touches),
        threads=len({touch.tid for touch in touches}),
        sharing=sharing(touches),
        latency_mean=sum(access.total for access in accesses) / samples,
        touches=touches,
    )


_ORDER = {"false": 0, "true": 1, "read": 2, "none": 3}


def _cache_lines(sums: SpeSums, most: int) -> list[CacheLine]:
    """The lines that cost the most cycles, those that threads fight for first."""
    found: dict[tuple[int, int, int], list[Access]] = {}
    total = 0
    for access in sums.accesses():
        found.setdefault((access.line, access.owner, access.physical), []).append(access)
        total += access.samples
    cost = {key: sum(one.total for one in accesses) for key, accesses in found.items()}
    shared = [key for key, accesses in found.items() if len({one.tid for one in accesses}) > 1]
    hottest = sorted(found, key=lambda key: (-cost[key], key))[:most]
    wanted = {*sorted(shared, key=lambda key: (-cost[key], key))[:most], *hottest}
    lines = [(cost[key], _cache_line(key, found[key], total)) for key in wanted]
    lines.sort(key=lambda pair: (_ORDER[pair[1].sharing], -pair[0], pair[1].address))
    return [line for _, line in lines[:most]]


# ---- all of them ----


def spe_tables(data: SpeData, *, most_lines: int = 1000) -> SpeTables:
    """The tables of a recording whose records were added up."""
    sums = data.sums
    cells = list(sums.cells()) if sums is not None else []
    total = sum(cell.samples for cell in cells)
    sources, notes = _sources(cells, data.cores)
    return SpeTables(
        symbols=_symbols(cells, total),
        sources=sources,
        latency=_latencies(cells),
        cachelines=[] if sums is None else _cache_lines(sums, most_lines),
        samples=total,
        unresolved=sum(cell.samples for cell in cells if not cell.symbol.resolved),
        notes=[*([] if sums is None else sums.quality.notes), *notes],
    )
