"""What `kperf record` shows of a recording: the table with call trees, JSON, CSV."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import kperf
from kperf.report.branches import HotBranch, Place, hot_branches
from kperf.report.callers import Call
from kperf.report.hot import HotLine, hot_lines
from kperf_cli.recording import Recorded
from kperf_cli.render import Column, Result, Table, envelope, show_share, show_time

_NUMBERS = {"line", "pid", "tid", "cpu"}  # keys that stand to the right

_LEAST_SHARE = 0.005  # of an event that a function in a table's call tree stands for

# Levels of a call tree in JSON: two levels of JSON each, and some readers take no more than 256.
_MOST_LEVELS = 120
_DEEPEST = 60  # branches upon branches in a table

_MOST_NAMES = 3  # of files that one thing is said of

_MANY_CUT = 0.05  # of the samples: worth a word on what helps


class Subject(Protocol):
    """What was recorded, as a title and as machine output name it."""

    def describe(self) -> str: ...

    def as_dict(self) -> dict[str, object]: ...


class Shown(NamedTuple):
    """How a recording is shown."""

    subject: Subject
    keys: tuple[str, ...]
    top: int
    tree: str  # the way of the call trees (report.hot), "" without call stacks
    command: str = "record"


# ---- the table ----


class _Branch(NamedTuple):
    """One line of a call tree: how deep it is indented, and the numbers where they are new."""

    depth: int
    name: str
    share: str = ""
    samples: str = ""


def _branches(calls: Sequence[Call], depth: int) -> Iterator[_Branch]:
    """Every function of some weight; one that is alone on its way stands below the one before."""
    shown = [call for call in calls if call.share >= _LEAST_SHARE]
    if depth > _DEEPEST and calls:
        yield _Branch(depth, "- ...")
        return
    for call in shown:
        yield _Branch(depth, f"- {call.symbol}", show_share(call.share), f"{call.samples:,}")
        following = call.calls()
        while len(following) == 1 and following[0].samples == call.samples:
            (call,) = following
            yield _Branch(depth, f"  {call.symbol}")
            following = call.calls()
        yield from _branches(following, depth + 1)
    rest = [call for call in calls if call.share < _LEAST_SHARE]
    if rest:
        share = show_share(sum(call.share for call in rest))
        samples = f"{sum(call.samples for call in rest):,}"
        yield _Branch(depth, f"- ({len(rest):,} more)", share, samples)


class _TableMaker:
    """Makes the rows of a table: those of the lines, and of their call trees below them."""

    def __init__(self, keys: Sequence[str], with_event: bool, with_tree: bool) -> None:
        self._keys = keys
        self._with_event = with_event
        # A call tree stands in the column of symbols, or in one of its own.
        self._tree_title = "symbol" if "symbol" in keys else "calls"
        self._titles = [*keys, "calls"] if with_tree and "symbol" not in keys else list(keys)

    def columns(self) -> list[Column]:
        columns = [Column("share", right=True), Column("samples", right=True)]
        columns += [Column(title, right=title in _NUMBERS) for title in self._titles]
        return [Column("event"), *columns] if self._with_event else columns

    def rows(self, line: HotLine) -> Iterator[list[str]]:
        values = {key: str(value) for key, value in line.values.items()}
        yield self._cells(line.event, show_share(line.share), f"{line.samples:,}", values)
        if line.tree is None or line.share < _LEAST_SHARE:
            return
        for branch in _branches(line.tree.calls(), 1):
            name = {self._tree_title: "  " * branch.depth + branch.name}
            yield self._cells("", branch.share, branch.samples, name)

    def _cells(self, event: str, share: str, samples: str, values: dict[str, str]) -> list[str]:
        cells = [share, samples, *(values.get(title, "") for title in self._titles)]
        return [event, *cells] if self._with_event else cells


def _top(lines: Sequence[HotLine], most: int) -> list[HotLine]:
    """The first lines of each event."""
    taken: dict[str, int] = {}
    shown = []
    for line in lines:
        taken[line.event] = taken.get(line.event, 0) + 1
        if taken[line.event] <= most:
            shown.append(line)
    return shown


def _title(recorded: Recorded, shown: Shown, events: set[str], cut: str) -> str:
    title = f"{shown.subject.describe()}: {show_time(recorded.duration_ns)}"
    return title + (f", {min(events)}" if len(events) == 1 else "") + cut


def _table(recorded: Recorded, lines: Sequence[HotLine], shown: Shown) -> Table:
    events = {line.event for line in lines}
    top = _top(lines, shown.top)
    cut = f", the first {len(top)} of {len(lines):,} rows" if len(top) < len(lines) else ""
    maker = _TableMaker(shown.keys, len(events) > 1, bool(shown.tree))
    rows = [row for line in top for row in maker.rows(line)]
    branches = hot_branches(recorded.data)
    below = [_branch_table(branches, shown.top)] if branches else []
    return Table(_title(recorded, shown, events, cut), maker.columns(), rows, below)


# ---- branches ----


def _share(share: float | None) -> str:
    return "-" if share is None else show_share(share)


def _branch_table(branches: Sequence[HotBranch], most: int) -> Table:
    shown = branches[:most]
    cut = f", the first {len(shown)} of {len(branches):,}" if len(shown) < len(branches) else ""
    rows = [
        [
            show_share(branch.share),
            f"{branch.taken:,}",
            _share(branch.mispredicted),
            "-" if branch.cycles is None else f"{branch.cycles:.1f}",
            str(branch.origin),
            str(branch.target),
            branch.origin.module,
        ]
        for branch in shown
    ]
    titles = ("share", "taken", "mispredicted", "cycles")
    columns = [Column(title, right=True) for title in titles]
    columns += [Column("from"), Column("to"), Column("module")]
    return Table(f"Branches before the samples{cut}", columns, rows)


def _place_document(place: Place) -> dict[str, Any]:
    known = place._asdict()
    return known if place.file else {**known, "file": None, "line": None}


def _branch_documents(branches: Sequence[HotBranch]) -> list[dict[str, Any]]:
    return [
        {
            "event": branch.event,
            "from": _place_document(branch.origin),
            "to": _place_document(branch.target),
            "taken": branch.taken,
            "share": branch.share,
            "mispredicted": branch.mispredicted,
            "cycles": branch.cycles,
        }
        for branch in branches
    ]


# ---- the quality line ----


def _cut_words(quality: kperf.Quality) -> str:
    cut, samples = quality.truncated_stacks or 0, quality.samples or 1
    words = f"{cut:,} stacks cut ({show_share(cut / samples)})"
    if cut < _MANY_CUT * samples:
        return words
    return f"{words}, as by code without frame pointers (build with -fno-omit-frame-pointer)"


def _gathered(notes: Sequence[str]) -> list[str]:
    """The notes, those that say the same of several files once."""
    subjects: dict[str, list[str]] = {}
    for note in notes:
        subject, colon, said = note.partition(": ")
        subjects.setdefault(said if colon else note, []).append(subject if colon else "")
    return [_of_all(names, said) for said, names in subjects.items()]


def _of_all(names: Sequence[str], said: str) -> str:
    shown = ", ".join(names[:_MOST_NAMES])
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"{shown}{more}: {said}" if shown else said


def quality_line(quality: kperf.Quality) -> str:
    """What was lost of a recording, in one line."""
    words = [f"{quality.samples or 0:,} samples", f"{quality.lost or 0:,} lost"]
    if quality.throttled:
        words.append(f"{quality.throttled:,} times throttled")
    if quality.unresolved:
        words.append(f"{quality.unresolved:,} without a symbol")
    if quality.truncated_stacks:
        words.append(_cut_words(quality))
    return f"quality: {'; '.join([*words, *_gathered(quality.notes)])}"


# ---- machine output ----


def _call_documents(calls: Sequence[Call], name: str, levels: int) -> list[dict[str, Any]]:
    """A call tree; where it goes on beyond the most levels, `cut` says so."""
    documents = []
    for call in calls:
        following = call.calls()
        document: dict[str, Any] = {
            "symbol": call.symbol,
            "module": call.module,
            "share": call.share,
            "samples": call.samples,
            name: _call_documents(following, name, levels - 1) if levels > 1 else [],
        }
        if following and levels <= 1:
            document["cut"] = True
        documents.append(document)
    return documents


def _row(line: HotLine) -> dict[str, Any]:
    return {
        **line.values,
        "event": line.event,
        "share": line.share,
        "samples": line.samples,
        "period": line.period,
    }


def _documents(lines: Sequence[HotLine], tree: str) -> list[dict[str, Any]]:
    return [
        _row(line)
        if line.tree is None
        else {**_row(line), tree: _call_documents(line.tree.calls(), tree, _MOST_LEVELS)}
        for line in lines
    ]


def _document(recorded: Recorded, lines: Sequence[HotLine], shown: Shown) -> dict[str, Any]:
    document = envelope(
        shown.command,
        kperf.Machine(),
        _documents(lines, shown.tree),
        recorded.data.quality,
        recorded.start,
        target=shown.subject.as_dict(),
        duration_ns=recorded.duration_ns,
        exit_status=recorded.ended.status if recorded.ended else None,
    )
    branches = hot_branches(recorded.data)
    return {**document, "branches": _branch_documents(branches)} if branches else document


def view(recorded: Recorded, shown: Shown) -> Result:
    """The result in every form."""
    lines = hot_lines(recorded.data, shown.keys, shown.tree)
    quality = recorded.data.quality
    return Result(
        quality=quality_line(quality),
        table=lambda: _table(recorded, lines, shown),
        document=lambda: _document(recorded, lines, shown),
        csv_columns=(*shown.keys, "event", "share", "samples", "period"),
        csv_rows=lambda: [_row(line) for line in lines],
    )
