"""What stands between a PMU's slashes, in the kernel's numbers."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from unit.trees import ENERGY_SCALE, IMC_SCALE, MachineOf, Tree

import kperf
from kperf.events import terms
from kperf.machine import Pmu


def refusal(pmu: Pmu, text: str) -> kperf.KperfError:
    with pytest.raises(kperf.KperfError) as caught:
        terms.encode(pmu, text)
    assert caught.value.code == kperf.Error.INVALID_EVENT
    assert caught.value.hint
    return caught.value


@pytest.fixture
def epyc(machine_of: MachineOf) -> Pmu:
    return machine_of("epyc").pmu("cpu")


@pytest.fixture
def xeon(machine_of: MachineOf) -> Pmu:
    return machine_of("xeon").pmu("cpu")


# ---- numbers ----


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("17", 17),
        ("017", 17),
        ("0x1A8", 0x1A8),
        ("0X1a8", 0x1A8),
        ("0xffffffffffffffff", (1 << 64) - 1),
        ("18446744073709551615", (1 << 64) - 1),
    ],
)
def test_numbers(text: str, value: int) -> None:
    assert terms.parse_number(text) == value


@pytest.mark.parametrize(
    "text",
    ["", "-1", "+1", "1_0", "0x", "x", "0b1", "1.5", "٣", " 1", "0x10000000000000000", "2" * 20],
)
def test_what_is_no_number(text: str) -> None:
    assert terms.parse_number(text) is None


# ---- terms and bits ----


@pytest.mark.parametrize(
    ("text", "config", "config1"),
    [
        ("", 0, 0),
        ("event=0xa8,umask=0x1,cmask=0x1", 0x10001A8, 0),
        (" event = 0xa8 , umask = 1 ", 0x1A8, 0),
        ("event=168,umask=1", 0x1A8, 0),
        ("event=0x3c,edge", 0x4003C, 0),
        ("event=0x3c,edge=0", 0x3C, 0),
        ("event=1,event=2", 2, 0),
        ("offcore_rsp=0xffffffffffffffff", 0, (1 << 64) - 1),
        ("config=0x1b", 0x1B, 0),
        ("config=1,config=2", 2, 0),
        ("config=0xff00,event=0x3c", 0xFF3C, 0),
        ("event=0x3c,config=0xff00", 0xFF3C, 0),
        ("config1=0x10,ldlat=3", 0, 3),
        ("ldlat=3,config1=0x10000", 0, 0x10003),
    ],
)
def test_terms_fill_their_bits(xeon: Pmu, text: str, config: int, config1: int) -> None:
    encoding = terms.encode(xeon, text)
    assert (encoding.config, encoding.config1) == (config, config1)
    assert (encoding.config2, encoding.config3) == (0, 0)


def test_every_config_word(xeon: Pmu) -> None:
    encoding = terms.encode(xeon, "config=1,config1=2,config2=3,config3=4")
    assert encoding[:4] == (1, 2, 3, 4)


@pytest.mark.parametrize(
    ("text", "config"),
    [
        ("event=0x28f,umask=0x03", 0x20000038F),  # perf-list(1) has this one for the EPYC 7713
        ("event=0xfff", 0xF000000FF),
        ("event=0x8f", 0x8F),
    ],
)
def test_bits_in_two_ranges(epyc: Pmu, text: str, config: int) -> None:
    assert terms.encode(epyc, text).config == config


def test_ranges_fill_from_the_lowest_bit_however_they_are_listed(tree: Tree) -> None:
    tree.pmu("odd", formats={"event": "config1:32-35,0-7"})
    assert terms.encode(tree.machine().pmu("odd"), "event=0x28f").config1 == 0x20000008F


@pytest.mark.parametrize(
    ("text", "most"),
    [("event=0x1000", "0xfff"), ("umask=256", "0xff"), ("edge=2", "0x1")],
)
def test_values_that_do_not_fit(epyc: Pmu, text: str, most: str) -> None:
    failure = refusal(epyc, text)
    assert "does not fit its" in failure.message
    assert failure.hint == f"the largest value is {most}"


@pytest.mark.parametrize("value", ["", "xyz", "-1", "0x1g", "?", "0x1ffffffffffffffff"])
def test_values_that_are_no_number(xeon: Pmu, value: str) -> None:
    for term in ("event", "config"):
        failure = refusal(xeon, f"{term}={value}")
        assert f"'{term}={value}'" in failure.message
        assert "cpu" in failure.message


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(event=st.integers(0, 0xFFF), umask=st.integers(0, 0xFF), edge=st.booleans())
def test_what_fits_can_be_read_back(epyc: Pmu, event: int, umask: int, edge: bool) -> None:
    text = f"event={event:#x},umask={umask}{',edge' if edge else ''}"
    config = terms.encode(epyc, text).config
    assert config & 0xFF | config >> 24 & 0xF00 == event
    assert config >> 8 & 0xFF == umask
    assert config >> 18 & 1 == edge
    assert config & ~0xF0004FFFF == 0


@pytest.mark.parametrize(
    ("text", "near"),
    [("evnt=1", "event"), ("umsk=1", "umask"), ("instruction", "instructions"), ("Edge=1", "edge")],
)
def test_unknown_terms_name_the_nearest(xeon: Pmu, text: str, near: str) -> None:
    failure = refusal(xeon, text)
    assert failure.message.startswith("the PMU cpu knows no term or event")
    assert near in failure.hint


def test_unknown_terms_without_a_near_one_list_what_there_is(xeon: Pmu) -> None:
    assert "umask" in refusal(xeon, "qqqq=1").hint


# ---- named events ----


@pytest.mark.parametrize(
    ("text", "config", "config1"),
    [
        ("instructions", 0xC0, 0),
        ("mem-loads", 0x1CD, 3),
        ("MEM-LOADS", 0x1CD, 3),
        ("mem-loads,ldlat=30", 0x1CD, 30),
        ("ldlat=30,mem-loads", 0x1CD, 30),
        ("mem-loads,umask=0x10", 0x10CD, 3),
        ("instructions,edge", 0x400C0, 0),
        ("instructions,config1=7", 0xC0, 7),
    ],
)
def test_names_and_what_overrides_them(xeon: Pmu, text: str, config: int, config1: int) -> None:
    encoding = terms.encode(xeon, text)
    assert (encoding.config, encoding.config1) == (config, config1)


def test_config_overrides_a_name_that_is_one(machine_of: MachineOf) -> None:
    ddrc = machine_of("kunpeng-96").pmu("hisi_sccl3_ddrc0")
    assert terms.encode(ddrc, "flux_rd").config == 1
    assert terms.encode(ddrc, "flux_rd,config=0x7").config == 7
    assert terms.encode(ddrc, "flux_rd,event=0x4").config == 4


def test_two_names_at_once(xeon: Pmu) -> None:
    failure = refusal(xeon, "instructions,mem-loads")
    assert "instructions and mem-loads are different events" in failure.message


@pytest.mark.parametrize(
    ("pmu", "event", "scale", "unit"),
    [
        ("uncore_imc_0", "cas_count_read", float(IMC_SCALE), "MiB"),
        ("power", "energy-pkg", float(ENERGY_SCALE), "Joules"),
        ("cpu", "topdown-recovery-bubbles", 2.0, ""),
        ("uncore_imc_0", "clockticks", 1.0, ""),
        ("uncore_imc_0", "event=0x04,umask=0x03", 1.0, ""),
    ],
)
def test_scales_and_units(
    machine_of: MachineOf, pmu: str, event: str, scale: float, unit: str
) -> None:
    encoding = terms.encode(machine_of("xeon").pmu(pmu), event)
    assert (encoding.scale, encoding.unit) == (scale, unit)


def test_a_value_that_the_machine_leaves_open(tree: Tree) -> None:
    formats = {"event": "config:0-15", "core": "config1:0-7", "lpar": "config1:16-31"}
    tree.pmu("hv", formats=formats, events={"ticks": "event=0x10,core=?,lpar=0x2"})
    pmu = tree.machine().pmu("hv")
    failure = refusal(pmu, "ticks")
    assert "hv/ticks/ needs a value for 'core'" in failure.message
    assert failure.hint == "write hv/ticks,core=VALUE/"
    assert terms.encode(pmu, "ticks,core=5")[:2] == (0x10, 0x20005)
    assert terms.encode(pmu, "core=5,ticks,lpar=1")[:2] == (0x10, 0x10005)


def test_a_name_of_the_users_own(xeon: Pmu, tree: Tree) -> None:
    encoding = terms.encode(xeon, "event=0xa8,umask=0x1,name=LSD.UOPS_CYCLES,cmask=0x1")
    assert (encoding.name, encoding.config) == ("LSD.UOPS_CYCLES", 0x10001A8)
    tree.pmu("odd", formats={"name": "config:0-7"})
    encoding = terms.encode(tree.machine().pmu("odd"), "name=3")
    assert (encoding.name, encoding.config) == ("", 3)


# ---- Arm tables ----


@pytest.mark.parametrize(
    ("tree_name", "event", "code"),
    [
        ("kunpeng-96", "fetch_bubble", 0x2014),
        ("kunpeng-96", "MEM_STALL_L2MISS", 0x7007),
        ("kunpeng-96", "inst_retired", 0x08),
        ("grace", "sve_inst_spec", 0x8006),
    ],
)
def test_events_that_the_kernel_does_not_list(
    machine_of: MachineOf, tree_name: str, event: str, code: int
) -> None:
    pmu = machine_of(tree_name).pmu("armv8_pmuv3_0")
    assert terms.knows(pmu, event)
    assert terms.encode(pmu, event).config == code
    assert terms.encode(pmu, f"{event},long").config1 == 1


def test_tables_are_for_core_pmus_with_an_event_field(tree: Tree, machine_of: MachineOf) -> None:
    assert not terms.knows(machine_of("kunpeng-96").pmu("hisi_sccl3_ddrc0"), "fetch_bubble")
    assert not terms.knows(machine_of("xeon").pmu("cpu"), "fetch_bubble")
    tree.cpus(range(2))
    tree.cpu(0, core=0, socket=0, midr=0x481FD010)
    tree.pmu("armv8_pmuv3_0", formats={"code": "config:0-15"}, cpus=range(2))
    assert not terms.knows(tree.machine().pmu("armv8_pmuv3_0"), "fetch_bubble")


def test_what_the_kernel_lists_wins_over_the_tables(tree: Tree) -> None:
    tree.cpus(range(2))
    tree.cpu(0, core=0, socket=0, midr=0x481FD010)
    tree.pmu(
        "armv8_pmuv3_0",
        formats={"event": "config:0-15"},
        events={"fetch_bubble": "event=0x1234"},
        cpus=range(2),
    )
    assert terms.encode(tree.machine().pmu("armv8_pmuv3_0"), "fetch_bubble").config == 0x1234


# ---- files that nobody can read ----


@pytest.mark.parametrize(
    "layout",
    [
        "config4:0-7",
        "config",
        "config:",
        "config:7-0",
        "config:0-64",
        "config:a-b",
        "config:0-7,",
        "config:-1",
        "config:0-7;8",
        "0-7",
    ],
)
def test_a_format_that_is_none(tree: Tree, layout: str) -> None:
    tree.pmu("odd", formats={"event": layout})
    failure = refusal(tree.machine().pmu("odd"), "event=1")
    assert f"odd: format/event says '{layout}'" in failure.message


def test_a_format_that_is_none_harms_no_other_term(tree: Tree) -> None:
    tree.pmu("odd", formats={"event": "nonsense", "umask": "config:8-15"})
    assert terms.encode(tree.machine().pmu("odd"), "umask=1,config=2").config == 0x102


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("event=zz", "no number"),
        ("evnt=0x1", "knows no term"),
        ("event=0x100", "does not fit"),
        ("event", "says 'event'"),
    ],
)
def test_an_event_file_that_means_nothing(tree: Tree, text: str, why: str) -> None:
    layout = "none" if text == "event" else "config:0-7"
    tree.pmu("odd", formats={"event": layout}, events={"broken": text, "good": "config=0x1"})
    pmu = tree.machine().pmu("odd")
    failure = refusal(pmu, "broken")
    assert f"odd: events/broken says '{text}'" in failure.message
    assert why in failure.message
    assert terms.encode(pmu, "good").config == 1


@pytest.mark.parametrize("scale", ["", "one", "nan", "inf", "-inf", "0x10", "1,5"])
def test_a_scale_that_is_no_number(tree: Tree, scale: str) -> None:
    tree.pmu("odd", formats={"event": "config:0-7"}, events={"a": "event=1", "a.scale": scale})
    pmu = tree.machine().pmu("odd")
    assert f"odd: events/a.scale says '{scale}'" in refusal(pmu, "a").message
    assert terms.encode(pmu, "event=1").config == 1


@pytest.mark.parametrize("file", ["format/event", "events/a"])
@pytest.mark.parametrize("how", ["a directory", "empty", "a dangling link"])
def test_a_file_that_cannot_be_read(tree: Tree, file: str, how: str) -> None:
    tree.pmu("odd", formats={"event": "config:0-7"}, events={"a": "event=1"})
    path = tree.pmu_file("odd", file, "")
    if how != "empty":
        path.unlink()
    if how == "a directory":
        path.mkdir()
    if how == "a dangling link":
        os.symlink("nowhere", path)
    failure = refusal(tree.machine().pmu("odd"), "a")
    assert f"odd: {file} cannot be read, or is empty" in failure.message


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(alphabet=st.sampled_from("event=umask,config1x09a? ") | st.characters(), max_size=30)
)
def test_any_text_is_an_encoding_or_an_error(xeon: Pmu, text: str) -> None:
    code, words = kperf.Error.SUCCESS, (0,)
    try:
        words = terms.encode(xeon, text)[:4]
    except kperf.KperfError as failure:
        code = failure.code
    assert code in (kperf.Error.SUCCESS, kperf.Error.INVALID_EVENT)
    assert all(0 <= word < 1 << 64 for word in words)
