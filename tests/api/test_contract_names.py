"""Every name of the contract's page exists, with the value that the page gives it."""

from __future__ import annotations

import inspect
import re
from enum import IntEnum, IntFlag

import pytest
from api.test_examples import PAGE

import kperf

# The page's own spelling of a class, where it slipped.
_SPELLED = {"lmplPmuTraceData": "ImplPmuTraceData"}

# Names of rows that are not attributes of their class.
_EXPLAINED = {"union"}

_CLASS = re.compile(r"^( *)\* (?:class|calss|clase) (\w+)\s*:?.*$")
_ITEM = re.compile(r"^( *)\* ?(?:class |calss |clase )?([A-Za-z_]\w*)")
_FUNCTION = re.compile(r"^(?:kperf\.)?([a-z_]+)\(([^)]*)\)", re.MULTILINE)


def classes() -> dict[str, list[str]]:
    """The page's classes with the names that stand one level below each."""
    found: dict[str, list[str]] = {}
    name, depth, below = "", -1, -1
    for line in PAGE.splitlines():
        head = _CLASS.match(line)
        if head:
            name, depth, below = _SPELLED.get(head[2], head[2]), len(head[1]), -1
            found.setdefault(name, [])
            continue
        item = _ITEM.match(line)
        if not item or not name:
            continue
        indent = len(item[1])
        if indent <= depth:
            name = ""
            continue
        below = indent if below < 0 else below
        if indent == below:
            found[name].append(item[2])
    return found


CLASSES = classes()

FUNCTIONS = {
    name: [part.partition(":")[0].strip() for part in arguments.split(",") if part.strip()]
    for name, arguments in _FUNCTION.findall(PAGE)
    if name != "print"
}


def test_the_page_was_read() -> None:
    assert len(CLASSES) >= 14
    assert "evtList" in CLASSES["PmuAttr"]
    assert "rawData" in CLASSES["ImplPmuData"]
    assert len(FUNCTIONS) == 19


ENUMERATIONS = {
    "PmuTaskType": ("COUTING", "COUNTING", "SAMPLING", "SPE_SAMPLING"),
    "PmuEventType": ("CORE_EVENT", "UNCORE_EVENT", "TRACE_EVENT", "ALL_EVENT"),
    "SymbolMode": ("NO_SYMBOL_RESOLVE", "RESOLVE_ELF", "RESOLVE_ELF_DWARF"),
    "SpeFilter": (),
    "SpeEventFilter": (),
    "BranchSampleFilter": (),
    "PmuTraceType": ("TRACE_SYS_CALL",),
    "PmuDeviceMetric": (),
    "PmuBdfType": ("PMU_BDF_TYPE_PCIE", "PMU_BDF_TYPE_SMMU"),
    "PmuMetricMode": (),
    "Error": (),
}

# Which enumeration a constant of the page belongs to, by how its name begins.
_HOMES = (
    ("KPERF_", "BranchSampleFilter"),
    ("SPE_EVENT_", "SpeEventFilter"),
    ("SPE_FILTER_", "SpeFilter"),
    ("TS_ENABLE", "SpeFilter"),
    ("PA_ENABLE", "SpeFilter"),
    ("PCT_ENABLE", "SpeFilter"),
    ("JITTER", "SpeFilter"),
    ("BRANCH_FILTER", "SpeFilter"),
    ("LOAD_FILTER", "SpeFilter"),
    ("STORE_FILTER", "SpeFilter"),
    ("SPE_DATA_ALL", "SpeFilter"),
    ("NO_SYMBOL_RESOLVE", "SymbolMode"),
    ("RESOLVE_ELF", "SymbolMode"),
    ("PMU_BDF_TYPE_", "PmuBdfType"),
    ("PMU_", "PmuDeviceMetric"),
    ("TRACE_SYS_CALL", "PmuTraceType"),
    ("CORE_EVENT", "PmuEventType"),
    ("UNCORE_EVENT", "PmuEventType"),
    ("TRACE_EVENT", "PmuEventType"),
    ("ALL_EVENT", "PmuEventType"),
    ("COUTING", "PmuTaskType"),
    ("SAMPLING", "PmuTaskType"),
    ("SPE_SAMPLING", "PmuTaskType"),
)


def constants() -> list[tuple[str, str, str]]:
    """Enumeration, member and what the page says behind it."""
    found = []
    for line in PAGE.splitlines():
        member = re.match(r"^\s*(?:\* )?([A-Z][A-Z0-9_]{4,})\b\s*(.*)$", line)
        if member is None:
            continue
        homes = [home for prefix, home in _HOMES if member[1].startswith(prefix)]
        if homes:
            found.append((homes[0], member[1], member[2]))
    return found


CONSTANTS = constants()


def test_no_constant_was_overlooked() -> None:
    assert len({(home, name) for home, name, _ in CONSTANTS}) >= 55
    homes = {home for home, _, _ in CONSTANTS}
    assert homes == set(ENUMERATIONS) - {"PmuMetricMode", "Error"}


@pytest.mark.parametrize("name", ENUMERATIONS)
def test_enumerations(name: str) -> None:
    kind = getattr(kperf, name)
    assert issubclass(kind, (IntEnum, IntFlag))
    for member in ENUMERATIONS[name]:
        assert isinstance(int(getattr(kind, member)), int)


@pytest.mark.parametrize(("home", "name", "says"), CONSTANTS)
def test_constants(home: str, name: str, says: str) -> None:
    value = int(getattr(getattr(kperf, home), name))
    number = re.match(r"=\s*(0x[0-9a-fA-F]+|\d+ << \d+|\d+)", says)
    if number:
        assert value == eval(number[1], {})


def test_all_filters_of_spe_at_once() -> None:
    parts = [
        int(getattr(kperf.SpeFilter, name))
        for home, name, _ in CONSTANTS
        if home == "SpeFilter" and name not in ("SPE_DATA_ALL", "SPE_FILTER_NONE")
    ]
    assert int(kperf.SpeFilter.SPE_DATA_ALL) == sum(set(parts))


def test_metrics_count_from_0_in_the_pages_order() -> None:
    names = [name for home, name, _ in CONSTANTS if home == "PmuDeviceMetric"]
    names = list(dict.fromkeys(names))
    assert names[0] == "PMU_DDR_READ_BW"
    assert len(names) == 11
    assert [int(getattr(kperf.PmuDeviceMetric, name)) for name in names] == list(range(11))


ROWS = {
    "PmuData": kperf.PmuData,
    "ImplPmuData": kperf.ImplPmuData,
    "SampleRawField": kperf.SampleRawField,
    "PmuTraceData": kperf.PmuTraceData,
    "ImplPmuTraceData": kperf.ImplPmuTraceData,
    "PmuDeviceData": kperf.PmuDeviceData,
    "ImplPmuDeviceData": kperf.ImplPmuDeviceData,
    "DdrDataStructure": kperf.DdrDataStructure,
}


@pytest.mark.parametrize("name", ROWS)
def test_attributes_of_rows(name: str) -> None:
    kind = ROWS[name]
    assert CLASSES[name]
    for attribute in CLASSES[name]:
        if attribute not in _EXPLAINED:
            assert hasattr(kind, attribute) or attribute in kind.__annotations__, attribute


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("PmuAttr", kperf.PmuAttr),
        ("PmuTraceAttr", kperf.PmuTraceAttr),
        ("PmuDeviceAttr", kperf.PmuDeviceAttr),
    ],
)
def test_arguments_of_attributes(name: str, kind: type) -> None:
    known = set(inspect.signature(kind).parameters)
    spelled = {"metic": "metric"}
    wanted = {spelled.get(item, item) for item in CLASSES[name]}
    # Members of enumerations stand below some arguments.
    wanted = {item for item in wanted if not item.isupper()}
    assert wanted
    assert wanted <= known


def test_deeper_names() -> None:
    """What the page nests below `stack`, `cpuTopo` and `ext`."""
    for attribute in ("coreId", "numaId", "socketId"):
        assert hasattr(kperf.CpuTopology, attribute)
    for attribute in ("symbol", "next", "prev", "count"):
        assert hasattr(kperf.Stack, attribute)
    symbol = kperf.Symbol(0, "")
    for attribute in (
        "addr",
        "module",
        "symbolName",
        "mangleName",
        "fileName",
        "lineNum",
        "offset",
        "codeMapEndAddr",
        "codeMapAddr",
        "count",
    ):
        assert hasattr(symbol, attribute)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_take_the_pages_arguments(name: str) -> None:
    function = getattr(kperf, name)
    given = FUNCTIONS[name]
    parameters = list(inspect.signature(function).parameters.values())
    assert len(parameters) >= len(given)
    positional = parameters[: len(given)]
    assert all(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in positional)
    assert all(p.default is not p.empty for p in parameters[len(given) :])


def test_every_public_name_is_there() -> None:
    for name in kperf.__all__:
        assert getattr(kperf, name) is not None, name
