"""The version, as meson.build gave it to the core."""

from kperf._core import ffi, lib

__version__: str = ffi.string(lib.kp_version()).decode()
