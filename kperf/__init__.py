"""kperf: counts events on Linux servers and says how far the numbers can be trusted.

Programs use `Counting` and its relatives, which raise `KperfError`; the functions (`open`,
`enable`, `read`, ...) keep the contract of descriptors and return codes.
"""

from kperf._version import __version__
from kperf.api import close, disable, enable, error, errorno, event_list, open, read
from kperf.attrs import (
    BranchSampleFilter,
    EvtAttr,
    PmuAttr,
    PmuEventType,
    PmuTaskType,
    SpeEventFilter,
    SpeFilter,
    SymbolMode,
)
from kperf.command import Command
from kperf.data import ImplPmuData, PmuData, Quality
from kperf.errors import (
    Error,
    InvalidArgumentError,
    KperfError,
    NotPermittedError,
    NotSupportedError,
)
from kperf.machine import Machine
from kperf.session import Counting
from kperf.topo import CpuTopology, Topology

__all__ = [
    "BranchSampleFilter",
    "Command",
    "Counting",
    "CpuTopology",
    "Error",
    "EvtAttr",
    "ImplPmuData",
    "InvalidArgumentError",
    "KperfError",
    "Machine",
    "NotPermittedError",
    "NotSupportedError",
    "PmuAttr",
    "PmuData",
    "PmuEventType",
    "PmuTaskType",
    "Quality",
    "SpeEventFilter",
    "SpeFilter",
    "SymbolMode",
    "Topology",
    "__version__",
    "close",
    "disable",
    "enable",
    "error",
    "errorno",
    "event_list",
    "open",
    "read",
]
