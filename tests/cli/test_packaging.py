"""What an installation holds: one abi3 extension, every module, the manual, one version."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2]
KPERF = Path(sysconfig.get_path("scripts")) / "kperf"
MANUAL = Path(sys.prefix) / "share" / "man" / "man1"
PAGES = sorted(page.name for page in (SOURCE / "man").glob("*.1"))

BUILD_ONLY = {"kperf/_core_build.py", "kperf/syscalls/generate.py"}
LOADED_WHEN_USED = {"click", "json", "pytest", "rich", "subprocess"}


def output_of(*argv: str | Path) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def installed_files() -> set[str]:
    files = metadata.files("kperf")
    assert files is not None
    return {str(file) for file in files}


def test_the_extension_keeps_to_the_limited_api() -> None:
    extensions = {name for name in installed_files() if name.endswith((".so", ".pyd"))}
    assert extensions == {"kperf/_core.abi3.so"}
    assert "-abi3-" in (metadata.distribution("kperf").read_text("WHEEL") or "")


def test_every_module_is_installed() -> None:
    written = {
        str(path.relative_to(SOURCE))
        for package in ("kperf", "kperf_cli")
        for path in (SOURCE / package).rglob("*.py*")
        if path.suffix in (".py", ".pyi")
    }
    assert written - installed_files() == BUILD_ONLY


def test_the_types_are_marked_as_such() -> None:
    assert "kperf/py.typed" in installed_files()


@pytest.mark.parametrize("page", PAGES)
def test_the_manual_is_installed(page: str) -> None:
    assert (MANUAL / page).read_bytes() == (SOURCE / "man" / page).read_bytes()


def test_the_manual_is_as_help_and_its_sources_have_it() -> None:
    generator = SOURCE / "man" / "generate.py"
    done = subprocess.run(
        [sys.executable, "-I", generator, "--check"], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_a_manual_that_help_has_overtaken_is_told(tmp_path: Path) -> None:
    copy = shutil.copytree(SOURCE / "man", tmp_path / "man")
    page = copy / "kperf-stat.1"
    page.write_text(page.read_text().replace("A row a thread.", "A row per thread."))
    with (copy / "src" / "kperf-topo.1.in").open("a") as source:
        source.write("More.\n")
    check = [sys.executable, "-I", copy / "generate.py"]
    stale = subprocess.run([*check, "--check"], capture_output=True, text=True, check=False)
    assert stale.returncode == 1
    assert "kperf-stat.1, kperf-topo.1: run make man" in stale.stdout
    subprocess.run(check, check=True)
    assert "A row a thread." in page.read_text()
    assert (copy / "kperf-topo.1").read_text().endswith("More.\n")


def options_in(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", text))


def options_shown(*command: str) -> set[str]:
    """The options that a command's help has lines for."""
    lines = re.findall(r"^  (-\S.*?)(?:  |$)", output_of(KPERF, *command, "--help"), re.MULTILINE)
    return options_in("\n".join(lines))


def options_described(page: str) -> set[str]:
    """The options that a page's section OPTIONS has entries for."""
    text = (MANUAL / page).read_text(encoding="utf-8").replace("\\-", "-")
    section = text.partition("\n.SH OPTIONS\n")[2].partition("\n.SH ")[0]
    return options_in("\n".join(re.findall(r"^\.TP\n(\..*)$", section, re.MULTILINE)))


@pytest.mark.parametrize("page", PAGES)
def test_the_manual_has_the_options_of_the_help(page: str) -> None:
    shown = options_shown(*page.partition(".")[0].split("-")[1:])
    assert "--help" in shown
    assert options_described(page) == shown


def test_each_command_has_a_page() -> None:
    commands = re.findall(
        r"^  ([a-z]+) ", output_of(KPERF, "--help").partition("Commands:")[2], re.MULTILINE
    )
    assert commands
    assert {f"kperf-{command}.1" for command in commands} <= set(PAGES)


def test_the_command_and_the_package_have_one_version() -> None:
    assert output_of(KPERF, "--version") == f"kperf {metadata.version('kperf')}\n"


def test_importing_the_library_loads_nothing_that_it_may_not_need() -> None:
    program = "import sys, kperf; print(*sys.modules)"
    loaded = set(output_of(sys.executable, "-I", "-c", program).split())
    assert "kperf" in loaded
    assert loaded & LOADED_WHEN_USED == set()
