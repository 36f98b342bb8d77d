"""`kperf topo`: sockets, NUMA nodes, clusters, cores and frequencies of a machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click

import kperf
from kperf.machine import format_cpu_list
from kperf.report.topo import CpuRow, MachineMap, NodeRow, machine_map
from kperf_cli import options
from kperf_cli.render import Column, Result, Table, envelope, make_output

_GIB = 1 << 30
_CPU_COLUMNS = (
    "id",
    "online",
    "core",
    "cluster",
    "numa",
    "socket",
    "freq_hz",
    "min_hz",
    "max_hz",
)
_COLUMNS = (
    Column("socket", right=True),
    Column("node", right=True),
    Column("CPUs"),
    Column("cores", right=True),
    Column("clusters", right=True),
    Column("memory", right=True),
    Column("frequency"),
    Column("distances"),
)


# ---- for people ----


def _counted(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _span(values: Iterable[int | None]) -> str:
    """The values in GHz, as one number or as the lowest and the highest; "" for none."""
    known = sorted(value for value in values if value is not None)
    if not known:
        return ""
    low, high = f"{known[0] / 1e9:.2f}", f"{known[-1] / 1e9:.2f}"
    return low if low == high else f"{low}-{high}"


def _frequency(cpus: Sequence[CpuRow]) -> str:
    """What they run at, and between which bounds: '2.10-2.60 GHz (0.20-2.60)'."""
    now = _span(row.frequency.now for row in cpus)
    bounds = _span(hz for row in cpus for hz in (row.frequency.lowest, row.frequency.highest))
    if not now and not bounds:
        return "-"
    return f"{now} GHz ({bounds})" if now and bounds else f"{now or bounds} GHz"


def _clusters(cpus: Sequence[CpuRow]) -> str:
    """How many clusters, and of how many CPUs: '8 x 4'."""
    sizes: dict[int, int] = {}
    for row in cpus:
        if row.place.cluster is not None:
            sizes[row.place.cluster] = sizes.get(row.place.cluster, 0) + 1
    if not sizes:
        return "-"
    low, high = min(sizes.values()), max(sizes.values())
    return f"{len(sizes)} x {low}" + ("" if low == high else f"-{high}")


def _count_cores(cpus: Iterable[CpuRow]) -> int:
    """Cores may be numbered anew in each socket, and in each cluster."""
    return len({(row.place.socket, row.place.cluster, row.place.core) for row in cpus})


def _cells(socket: str, node: NodeRow | None, cpus: Sequence[CpuRow]) -> list[str]:
    memory = node.memory_bytes if node else None
    return [
        socket,
        str(node.id) if node else "-",
        format_cpu_list(tuple(row.place.cpu for row in cpus)) or "-",
        str(_count_cores(cpus)),
        _clusters(cpus),
        "-" if memory is None else f"{memory / _GIB:,.1f} GiB",
        _frequency(cpus),
        " ".join(map(str, node.distances if node else ())) or "-",
    ]


def _rows(found: MachineMap) -> list[list[str]]:
    """A row for each part of a socket that is in one node, then the nodes of memory alone."""
    nodes = {node.id: node for node in found.numa}
    parts: dict[tuple[int, int], list[CpuRow]] = {}
    for row in found.cpus:
        if row.online:
            place = row.place
            key = (
                -1 if place.socket is None else place.socket,
                -1 if place.numa is None else place.numa,
            )
            parts.setdefault(key, []).append(row)
    rows = [
        _cells("-" if socket < 0 else str(socket), nodes.get(node), parts[socket, node])
        for socket, node in sorted(parts)
    ]
    with_cpus = {node for _, node in parts}
    return rows + [_cells("-", node, ()) for node in found.numa if node.id not in with_cpus]


def _title(found: MachineMap, machine: kperf.Machine) -> str:
    online = [row for row in found.cpus if row.online]
    counts = [
        _counted(len(online), "CPU"),
        _counted(_count_cores(online), "core")
        + (f" of {found.threads} threads" if found.threads > 1 else ""),
        _counted(len(found.clusters), "cluster"),
        _counted(len(found.numa), "NUMA node"),
        _counted(len(found.sockets), "socket"),
    ]
    return f"{machine.cpu_model or machine.arch}: {', '.join(counts)}"


def _notes(found: MachineMap) -> list[str]:
    notes = []
    offline = tuple(row.place.cpu for row in found.cpus if not row.online)
    if offline:
        notes.append(f"offline, so without a place: CPU {format_cpu_list(offline)}")
    if not any(row.frequency.now for row in found.cpus):
        notes.append("no frequencies, as neither cpufreq nor CPPC is here")
    if not found.numa:
        notes.append("this kernel tells of no NUMA nodes")
    if len(found.kinds) > 1:
        kinds = (f"{kind.name} on {format_cpu_list(kind.cpus)}" for kind in found.kinds)
        notes.append(f"cores of different kinds: {', '.join(kinds)}")
    return notes


# ---- for programs ----


def _cpu_document(row: CpuRow) -> dict[str, Any]:
    place, speed = row.place, row.frequency
    values = (
        place.cpu,
        row.online,
        place.core,
        place.cluster,
        place.numa,
        place.socket,
        speed.now,
        speed.lowest,
        speed.highest,
    )
    return dict(zip(_CPU_COLUMNS, values))


def _document(
    found: MachineMap, machine: kperf.Machine, notes: Sequence[str], start: float
) -> dict[str, Any]:
    document = envelope("topo", machine, [], kperf.Quality(notes), start)
    del document["rows"]
    for name in ("sockets", "numa", "clusters"):
        document[name] = [row._asdict() for row in getattr(found, name)]
    document["cpus"] = [_cpu_document(row) for row in found.cpus]
    return document


def _result(found: MachineMap, machine: kperf.Machine, start: float) -> Result:
    notes = _notes(found)
    return Result(
        quality=f"quality: {'; '.join(notes) or 'nothing is missing'}",
        table=lambda: Table(_title(found, machine), _COLUMNS, _rows(found)),
        document=lambda: _document(found, machine, notes, start),
        csv_columns=_CPU_COLUMNS,
        csv_rows=lambda: [_cpu_document(row) for row in found.cpus],
    )


# ---- the command ----

_LISTS: dict[str, Callable[[kperf.Topology, int], tuple[int, ...]]] = {
    "numa": kperf.Topology.node_cpus,
    "cluster": kperf.Topology.cluster_cpus,
    "core_of": kperf.Topology.core_cpus,
}


def _print_list(machine: kperf.Machine, given: dict[str, Any]) -> bool:
    """Prints the one list that was asked for; False where none was."""
    asked = [name for name in _LISTS if given[name] is not None]
    if len(asked) > 1:
        raise click.UsageError("--numa, --cluster and --cpu are three lists: choose one")
    for name in asked:
        cpus = _LISTS[name](kperf.Topology(machine), given[name])
        click.echo(format_cpu_list(cpus))
    return bool(asked)


@click.command(
    "topo", cls=options.Command, forms=("[OPTIONS]", "{--numa N | --cluster N | --cpu N}")
)
@click.option("--numa", type=options.Whole(0), metavar="N", help="Print the CPUs of NUMA node N.")
@click.option("--cluster", type=options.Whole(0), metavar="N", help="Print the CPUs of cluster N.")
@click.option(
    "--cpu",
    "core_of",
    type=options.Whole(0),
    metavar="N",
    help="Print the CPUs that share a core with CPU N.",
)
@options.output_options
@click.pass_context
def command(ctx: click.Context, /, **given: Any) -> int:
    """Show where CPUs sit: sockets, NUMA nodes, clusters, cores, frequencies.

    \b
    kperf topo                         the machine as a table
    taskset -c $(kperf topo --numa 1) ./server
    """
    start = time.time()
    machine = kperf.Machine(ctx.obj["sysroot"] or "/")
    if _print_list(machine, given):
        return 0
    with make_output(given, no_color=ctx.obj["no_color"]) as output:
        output.write(_result(machine_map(machine), machine, start))
    return 0
