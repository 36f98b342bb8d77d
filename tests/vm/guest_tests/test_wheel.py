"""What is installed here is the wheel that was to be tested, whole, and it works.

/site, made on the host, has what was unpacked there for the other tests, the wheels, and pip.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import kperf

BUSY = Path(__file__).with_name("busy")
SITE = Path("/site")
PIP = SITE / "installer"
WHEELS = SITE / "wheels"
(WHEEL,) = WHEELS.glob("kperf-*.whl")
_BY_PIP = ("INSTALLER", "RECORD", "REQUESTED", "direct_url.json")


def test_it_is_that_wheel() -> None:
    found = re.fullmatch(r"kperf-([^-]+)-(cp\d+)-abi3-([^-]*aarch64)\.whl", WHEEL.name)
    assert found, WHEEL.name
    version, python, platforms = found.groups()
    assert version == kperf.__version__ == metadata.version("kperf")
    told = metadata.distribution("kperf").read_text("WHEEL") or ""
    tags = set(re.findall(r"^Tag: (\S+)$", told, re.MULTILINE))
    assert tags == {f"{python}-abi3-{platform}" for platform in platforms.split(".")}
    if "manylinux" in WHEEL.name:  # a release's
        assert (python, "manylinux_2_28_aarch64" in platforms) == ("cp39", True)


def test_each_file_of_it_is_there() -> None:
    _is_whole(SITE, SITE)


def test_it_is_what_runs() -> None:
    import kperf._core as core

    for module in (kperf, core):
        assert Path(str(module.__file__)).is_relative_to(SITE / "kperf")
    shown = subprocess.run(["kperf", "--version"], check=True, capture_output=True, text=True)
    assert shown.stdout == f"kperf {metadata.version('kperf')}\n"


def test_it_works_in_an_empty_environment(tmp_path: Path) -> None:
    """pip installs it as a user's does, with nothing of /site in sight afterwards."""
    place = tmp_path / "empty"
    python = place / "bin/python"
    bare = {**os.environ, "PATH": f"{place}/bin:/usr/bin:/bin"}
    del bare["PYTHONPATH"]

    def run(*command: object, **more: str) -> str:
        words = [str(word) for word in command]
        return subprocess.run(
            words,
            env={**bare, **more},
            check=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        ).stdout

    run(sys.executable, "-m", "venv", "--without-pip", place)
    pip = (python, "-m", "pip", "--disable-pip-version-check", "--quiet")
    wanted = ("install", "--no-index", "--find-links", WHEELS, "--no-compile", "kperf")
    run(*pip, *wanted, PYTHONPATH=str(PIP))

    assert run("kperf", "--version") == f"kperf {metadata.version('kperf')}\n"
    (installed,) = place.glob("lib/python3*/site-packages")
    _is_whole(installed, place)
    profile = json.loads(run("kperf", "record", "--json", "--lines", "--", BUSY, "spin", "4000"))
    hottest = profile["rows"][0]
    assert (hottest["symbol"], os.path.basename(hottest["file"])) == ("sixty", "busy.c")
    shown = run(python, "-c", "import kperf, kperf._core as c; print(kperf.__file__, c.__file__)")
    assert all(path.startswith(f"{installed}/kperf/") for path in shown.split())


def _is_whole(packages: Path, scheme: Path) -> None:
    """All that is in the wheel is installed, byte for byte: modules here, data (manuals) there."""
    with zipfile.ZipFile(WHEEL) as wheel:
        for name in wheel.namelist():
            if name.endswith("/") or name.endswith(_BY_PIP):
                continue
            data, _, rest = name.partition(".data/data/")
            place = scheme / rest if rest else packages / data
            assert place.read_bytes() == wheel.read(name), name
