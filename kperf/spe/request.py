"""What a caller asks of SPE, as an event of its PMU. Bit positions are the machine's own."""

from __future__ import annotations

import re
from typing import NamedTuple

from kperf.attrs import SpeFilter
from kperf.errors import Error, KperfError, error
from kperf.events.event import Event
from kperf.events.terms import encode
from kperf.machine import Machine, Pmu
from kperf.request import check_period
from kperf.spe.available import cause, spe_pmus, unavailable
from kperf.spe.events import event_names

KIND = "spe"
DEFAULT_PERIOD = 4096

# The terms of format/ that filters stand for.
_TERMS: dict[SpeFilter, str] = {
    SpeFilter.TS_ENABLE: "ts_enable",
    SpeFilter.PA_ENABLE: "pa_enable",
    SpeFilter.PCT_ENABLE: "pct_enable",
    SpeFilter.JITTER: "jitter",
    SpeFilter.BRANCH_FILTER: "branch_filter",
    SpeFilter.LOAD_FILTER: "load_filter",
    SpeFilter.STORE_FILTER: "store_filter",
}


class SpeRequest(NamedTuple):
    """What is to be sampled. Records must have all of `event_filter`'s bits."""

    data_filter: int = 0
    event_filter: int = 0
    min_latency: int = 0  # cycles
    period: int = 0  # operations; 0: the default
    exclude_user: bool = False
    exclude_kernel: bool = False


def _cap(pmu: Pmu, name: str) -> int | None:
    """A number below caps/, decimal or hexadecimal."""
    text = pmu.cap(name)
    match = re.fullmatch(r"(0x)?([0-9a-fA-F]+)", text or "")
    return int(match[2], 16 if match[1] else 10) if match else None


def _check_data_filter(pmu: Pmu, data_filter: int) -> None:
    unknown = data_filter & ~int(SpeFilter.SPE_DATA_ALL)
    if unknown:
        raise error(
            Error.INVALID_FILTER,
            f"{unknown:#x} is no bit of an SPE data filter",
            hint="combine members of kperf.SpeFilter",
        )
    missing = [
        bit.name or term
        for bit, term in _TERMS.items()
        if data_filter & bit and term not in pmu.formats
    ]
    if missing:
        raise error(
            Error.INVALID_FILTER,
            f"{pmu.name} has no {' and no '.join(missing)} in its format/",
            hint="leave it out, or use a newer kernel",
        )


def _check_event_filter(pmu: Pmu, event_filter: int) -> None:
    supported = _cap(pmu, "event_filter")
    unsupported = event_filter & ~supported if supported else 0
    if not 0 <= event_filter < 1 << 64 or unsupported:
        names = ", ".join(event_names(unsupported)) if unsupported else hex(event_filter)
        raise error(
            Error.INVALID_FILTER,
            f"{pmu.name} cannot filter by these events: {names}",
            hint="leave them out, or filter in software (any_events, 'kperf spe --any-event')",
        )


def _period(pmu: Pmu, period: int) -> int:
    """The driver would raise one that is too short, without a word."""
    least = _cap(pmu, "min_interval") or 1
    check_period(period, "SPE")
    if 0 < period < least:
        raise error(
            Error.INVALID_SAMPLE_RATE,
            f"{pmu.name} takes a sample every {least} operations at most, and {period} was asked "
            "for",
            hint=f"give a period of at least {least}",
        )
    return period or max(least, DEFAULT_PERIOD)


def _terms(pmu: Pmu, request: SpeRequest) -> str:
    # Without a time of its own a record could not be told from those of other tasks.
    wanted = request.data_filter | SpeFilter.TS_ENABLE
    terms = [f"{term}=1" for bit, term in _TERMS.items() if wanted & bit and term in pmu.formats]
    if request.event_filter:
        terms.append(f"event_filter={request.event_filter:#x}")
    if request.min_latency:
        terms.append(f"min_latency={request.min_latency}")
    return ",".join(terms)


def _on(pmu: Pmu, request: SpeRequest) -> Event:
    _check_data_filter(pmu, request.data_filter)
    _check_event_filter(pmu, request.event_filter)
    if request.min_latency < 0:
        raise error(Error.INVALID_FILTER, f"no latency is {request.min_latency} cycles")
    try:
        encoded = encode(pmu, _terms(pmu, request))
    except KperfError as failure:
        raise error(Error.INVALID_FILTER, failure.message, hint=failure.hint) from None
    return Event(
        name=pmu.name,
        kind=KIND,
        type=pmu.type,
        config=encoded.config,
        config1=encoded.config1,
        config2=encoded.config2,
        config3=encoded.config3,
        pmu=pmu.name,
        cpus=pmu.cpumask,
        period=_period(pmu, request.period),
        exclude_user=request.exclude_user,
        exclude_kernel=request.exclude_kernel,
    )


def spe_event(request: SpeRequest, machine: Machine) -> Event:
    """The event that does what is asked for. Raises `KperfError`."""
    why = cause(machine)
    if why is not None:
        raise unavailable(why)
    return _on(spe_pmus(machine)[0], request)
