"""Names of C++ and Rust, against c++filt and the compiler's own documentation."""

from __future__ import annotations

import subprocess

import pytest

from kperf.symbols.demangle import demangle

CXX = [
    "_ZN3BoxIdE3getEi",
    "_ZNSt6vectorIiSaIiEE9push_backERKi",
    "_ZNKSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEE4sizeEv",
    "_Z3foov.constprop.0",
    "_Z3fooIJilEEvDpT_",
    "_ZGVZ4mainE1x",
    "_ZZ4mainENKUlvE_clEv",
    "_Znot_really",
    "plain",
    "",
]

RUST = {
    "_ZN4core3fmt5write17h0123456789abcdefE": "core::fmt::write",
    "_ZN71_$LT$Test$u20$$u2b$$u20$$u27$static$u20$as$u20$foo..Bar$LT$Test$GT$$GT$3bar"
    "17h930b740aa94f1d3aE": "<Test + 'static as foo::Bar<Test>>::bar",
    "_ZN3foo3bar17h05af221e174051e9E.llvm.1234": "foo::bar",
    "_RNvCs1234_7mycrate3foo": "mycrate::foo",
    "_RMCs4fqI2P2rA04_13const_genericINtB0_8UnsignedKhb_E": "<const_generic::Unsigned<11>>",
    "_RNvNtCs1234_7mycrate3foo3bar": "mycrate::foo::bar",
    "_RNCNvCs1234_7mycrate3foo0B3_": "mycrate::foo::{closure#0}",
    "_RINvCs1234_7mycrate3fooReE": "mycrate::foo::<&str>",
    "_RINvCs1234_7mycrate3fooTlmEAhj4_E": "mycrate::foo::<(i32, u32), [u8; 4]>",
    "_RNCNCNCNvNtCsjrHSEGnQ3l9_3std2rt19lang_start_internal00s_0B9_": (
        "std::rt::lang_start_internal::{closure#0}::{closure#0}::{closure#1}"
    ),
    "_RNSNvYNCNCNvNtNtCsjrHSEGnQ3l9_3std3sys9backtrace10__print_fmts_00INtNtNtCsgEmfK2I1SDS_"
    "4core3ops8function6FnOnceTRNtNtNtBe_12backtrace_rs9symbolize6SymbolEE9call_once6vtableBe_": (
        "<std::sys::backtrace::_print_fmt::{closure#1}::{closure#0} as core::ops::function::FnOnce"
        "<(&std::backtrace_rs::symbolize::Symbol,)>>::call_once::{shim:vtable#0}"
    ),
    "_RNvXs_Cs1234_7mycrateNtB4_3FooNtB4_5Trait3run": "<mycrate::Foo as mycrate::Trait>::run",
    "_RINvCs1234_7mycrate3fooFUKClEuE": 'mycrate::foo::<unsafe extern "C" fn(i32)>',
}


@pytest.mark.parametrize("name", CXX)
def test_cxx_names_as_binutils_reads_them(name: str) -> None:
    filtered = subprocess.run(["c++filt", name], check=True, capture_output=True, text=True)
    assert demangle(name) == filtered.stdout.rstrip("\n")


@pytest.mark.parametrize("name", RUST)
def test_rust_names(name: str) -> None:
    assert demangle(name) == RUST[name]


def test_suffixes_stay() -> None:
    assert demangle("_Z3foov@plt") == "foo()@plt"
    assert demangle("_Z3foov@@V_1") == "foo()@@V_1"


@pytest.mark.parametrize(
    "name",
    [
        "_R" + "NvB_" * 1000,
        "_RNvC" + "9" * 30,
        "_RB_",
        "_R" + "I" * 5000,
        "_RINvC1a1f" + "T" + "".join(f"TB{c}_B{c}_E" for c in "abcdefghij") + "EE",
        "_ZN" + "9" * 100 + "E",
        "_Z" + "N" * 20000,
        "_ZN3foo17h0123456789abcdef",
        "_R\udcff",
    ],
)
def test_names_that_are_none(name: str) -> None:
    assert demangle(name) == name
