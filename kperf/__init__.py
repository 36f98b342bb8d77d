"""kperf: counts events on Linux servers and says how far the numbers can be trusted.

Programs use `Counting` and its relatives, which raise `KperfError`; the functions (`open`,
`enable`, `read`, ...) keep the contract of descriptors and return codes.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from kperf._version import __version__

if TYPE_CHECKING:
    from kperf.api import (
        close,
        device_bdf_list,
        device_open,
        disable,
        dump,
        enable,
        error,
        errorno,
        event_list,
        get_cluster_core,
        get_cpu_freq,
        get_device_metric,
        get_field,
        get_field_exp,
        get_numa_core,
        open,
        read,
        sys_call_func_list,
        trace_close,
        trace_disable,
        trace_enable,
        trace_open,
        trace_read,
    )
    from kperf.attrs import (
        BranchSampleFilter,
        EvtAttr,
        PmuAttr,
        PmuBdfType,
        PmuDeviceAttr,
        PmuDeviceMetric,
        PmuEventType,
        PmuMetricMode,
        PmuTaskType,
        PmuTraceAttr,
        PmuTraceType,
        SpeEventFilter,
        SpeFilter,
        SymbolMode,
    )
    from kperf.calls import CallRow, CallSummary, ImplPmuTraceData, PmuTraceData
    from kperf.command import Command
    from kperf.data import ImplPmuData, PmuData, Quality
    from kperf.device.data import DdrDataStructure, ImplPmuDeviceData, PmuDeviceData
    from kperf.device.session import Device
    from kperf.errors import (
        Error,
        InvalidArgumentError,
        KperfError,
        NotPermittedError,
        NotSupportedError,
    )
    from kperf.machine import Machine
    from kperf.samples import Stack
    from kperf.sampling import Sampling
    from kperf.session import Counting
    from kperf.spe.decode import decode_spe
    from kperf.spe.operations import SpeOp
    from kperf.spe.sampling import SpeSampling
    from kperf.symbols.symbol import Symbol
    from kperf.topo import CpuTopology, Topology
    from kperf.tracepoint import SampleRawField
    from kperf.tracing import SyscallTrace

# Each name is loaded from its module when it is first used: a program pays for what it needs.
_NAMES: dict[str, tuple[str, ...]] = {
    "kperf.api": (
        "close",
        "device_bdf_list",
        "device_open",
        "disable",
        "dump",
        "enable",
        "error",
        "errorno",
        "event_list",
        "get_cluster_core",
        "get_cpu_freq",
        "get_device_metric",
        "get_field",
        "get_field_exp",
        "get_numa_core",
        "open",
        "read",
        "sys_call_func_list",
        "trace_close",
        "trace_disable",
        "trace_enable",
        "trace_open",
        "trace_read",
    ),
    "kperf.attrs": (
        "BranchSampleFilter",
        "EvtAttr",
        "PmuAttr",
        "PmuBdfType",
        "PmuDeviceAttr",
        "PmuDeviceMetric",
        "PmuEventType",
        "PmuMetricMode",
        "PmuTaskType",
        "PmuTraceAttr",
        "PmuTraceType",
        "SpeEventFilter",
        "SpeFilter",
        "SymbolMode",
    ),
    "kperf.calls": ("CallRow", "CallSummary", "ImplPmuTraceData", "PmuTraceData"),
    "kperf.command": ("Command",),
    "kperf.data": ("ImplPmuData", "PmuData", "Quality"),
    "kperf.device.data": ("DdrDataStructure", "ImplPmuDeviceData", "PmuDeviceData"),
    "kperf.device.session": ("Device",),
    "kperf.errors": (
        "Error",
        "InvalidArgumentError",
        "KperfError",
        "NotPermittedError",
        "NotSupportedError",
    ),
    "kperf.machine": ("Machine",),
    "kperf.samples": ("Stack",),
    "kperf.sampling": ("Sampling",),
    "kperf.session": ("Counting",),
    "kperf.symbols.symbol": ("Symbol",),
    "kperf.spe.decode": ("decode_spe",),
    "kperf.spe.operations": ("SpeOp",),
    "kperf.spe.sampling": ("SpeSampling",),
    "kperf.topo": ("CpuTopology", "Topology"),
    "kperf.tracepoint": ("SampleRawField",),
    "kperf.tracing": ("SyscallTrace",),
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module 'kperf' has no attribute '{name}'")
    value = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = [
    "BranchSampleFilter",
    "CallRow",
    "CallSummary",
    "Command",
    "Counting",
    "CpuTopology",
    "DdrDataStructure",
    "Device",
    "Error",
    "EvtAttr",
    "ImplPmuData",
    "ImplPmuDeviceData",
    "ImplPmuTraceData",
    "InvalidArgumentError",
    "KperfError",
    "Machine",
    "NotPermittedError",
    "NotSupportedError",
    "PmuAttr",
    "PmuBdfType",
    "PmuData",
    "PmuDeviceAttr",
    "PmuDeviceData",
    "PmuDeviceMetric",
    "PmuEventType",
    "PmuMetricMode",
    "PmuTaskType",
    "PmuTraceAttr",
    "PmuTraceData",
    "PmuTraceType",
    "Quality",
    "SampleRawField",
    "Sampling",
    "SpeEventFilter",
    "SpeFilter",
    "SpeOp",
    "SpeSampling",
    "Stack",
    "Symbol",
    "SymbolMode",
    "SyscallTrace",
    "Topology",
    "__version__",
    "close",
    "decode_spe",
    "device_bdf_list",
    "device_open",
    "disable",
    "dump",
    "enable",
    "error",
    "errorno",
    "event_list",
    "get_cluster_core",
    "get_cpu_freq",
    "get_device_metric",
    "get_field",
    "get_field_exp",
    "get_numa_core",
    "open",
    "read",
    "sys_call_func_list",
    "trace_close",
    "trace_disable",
    "trace_enable",
    "trace_open",
    "trace_read",
]
