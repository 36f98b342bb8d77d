"""What is installed here is the wheel that was to be tested, whole, and it works."""

from __future__ import annotations

import base64
import csv
import hashlib
import re
import subprocess
from importlib import metadata
from pathlib import Path

import kperf

SITE = Path("/site")
_FROM_PIP = ("INSTALLER", "REQUESTED", "direct_url.json")


def test_it_is_that_wheel() -> None:
    name = (SITE / "WHEEL-NAME").read_text().strip()
    found = re.fullmatch(r"kperf-([^-]+)-(cp\d+)-abi3-([^-]*aarch64)\.whl", name)
    assert found, name
    version, python, platforms = found.groups()
    assert version == kperf.__version__ == metadata.version("kperf")
    told = metadata.distribution("kperf").read_text("WHEEL") or ""
    tags = set(re.findall(r"^Tag: (\S+)$", told, re.MULTILINE))
    assert tags == {f"{python}-abi3-{platform}" for platform in platforms.split(".")}
    if "manylinux" in name:  # a release's
        assert (python, "manylinux_2_28_aarch64" in platforms) == ("cp39", True)


def test_each_file_of_it_is_there() -> None:
    record = metadata.distribution("kperf").read_text("RECORD") or ""
    checked = 0
    for path, digest, size in csv.reader(record.splitlines()):
        if not digest or path.startswith("../") or path.endswith(_FROM_PIP):
            continue
        data = (SITE / path).read_bytes()
        if path.startswith("bin/"):  # whose first line names the guest's interpreter
            continue
        algorithm, _, wanted = digest.partition("=")
        made = base64.urlsafe_b64encode(hashlib.new(algorithm, data).digest()).rstrip(b"=")
        assert (made.decode(), len(data)) == (wanted, int(size)), path
        checked += 1
    assert checked > 100


def test_it_is_what_runs() -> None:
    import kperf._core as core

    for module in (kperf, core):
        assert Path(str(module.__file__)).is_relative_to(SITE / "kperf")
    shown = subprocess.run(["kperf", "--version"], check=True, capture_output=True, text=True)
    assert shown.stdout == f"kperf {metadata.version('kperf')}\n"
