"""Writes the C source of kperf._core from the core's one header (run by meson)."""

from __future__ import annotations

import sys

import cffi


def declarations(header: str) -> str:
    """What stands between the header's two markers: plain C that cffi reads as it is."""
    return header.split("/* cffi: begin */", 1)[1].split("/* cffi: end */", 1)[0]


def main(header_path: str, output_path: str) -> None:
    builder = cffi.FFI()
    with open(header_path, encoding="utf-8") as header:
        builder.cdef(declarations(header.read()))
    builder.set_source("kperf._core", '#include "kperf_core.h"\n')
    builder.emit_c_code(output_path)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
