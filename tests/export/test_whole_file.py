"""Files that appear whole or not at all, with and without a name of their own meanwhile."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kperf import whole_file
from kperf.whole_file import WholeFile


@pytest.fixture(params=["unnamed", "named"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "named":
        monkeypatch.setattr(whole_file, "_UNKNOWN", ())
        monkeypatch.setattr(whole_file, "_OPEN_FILES", "/no/such/place")
    return str(request.param)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("old", [None, "old"])
def test_it_appears_with_all_its_bytes(tmp_path: Path, way: str, old: str | None) -> None:
    place = tmp_path / "a file"
    if old is not None:
        place.write_text(old)
    new = WholeFile(str(place))
    os.write(new.fd, b"new")
    assert (place.read_text() if old else place.exists()) == (old or False)
    assert names(tmp_path) == [place.name] * bool(old) or way == "named"
    assert Path(new.meanwhile).read_bytes() == b"new"
    new.appear()
    os.write(new.fd, b"er")
    os.close(new.fd)
    new.abandon()
    assert place.read_text() == "newer"
    assert names(tmp_path) == [place.name]


def test_nothing_is_left_of_one_that_is_given_up(tmp_path: Path, way: str) -> None:
    (tmp_path / "old").write_text("old")
    new = WholeFile(str(tmp_path / "old"))
    os.write(new.fd, b"new")
    os.close(new.fd)
    new.abandon()
    assert names(tmp_path) == ["old"]
    assert (tmp_path / "old").read_text() == "old"


def test_links_stay_and_modes_follow_the_mask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "link").symlink_to("below/file")
    monkeypatch.chdir(tmp_path)
    before = os.umask(0o027)
    try:
        new = WholeFile("link")
    finally:
        os.umask(before)
    new.appear()
    os.close(new.fd)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "below/file").stat().st_mode & 0o777 == 0o640


def test_a_folder_that_is_not_there(tmp_path: Path, way: str) -> None:
    with pytest.raises(FileNotFoundError):
        WholeFile(str(tmp_path / "none/file"))
