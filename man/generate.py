"""Writes the pages of the manual: what help says of each command, and what man/src adds to it.

python man/generate.py [--check]    (with the python of an environment that has kperf)

Name, synopsis and options come from the commands themselves, so that help and manual cannot differ.
A page's source in man/src is the page in man(7), with these lines for the rest:

@name, @synopsis          the sections NAME and SYNOPSIS
@options                  the section OPTIONS begins; until @end stand, if there are any:
@more --OPTION            what the manual says of an option beyond help
@before, @after [TITLE]   what stands before or after the options (of one of their sections)
@end

What shared.in says of an option holds for all commands that say nothing themselves.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import click

from kperf_cli import main, options

MAN = Path(__file__).resolve().parent
SHARED = "shared.in"
WIDTH = 80

# Option names, and what stands for a value, as help has them.
_WORD = re.compile(r"(?<![\w-])(--?[A-Za-z][\w-]*|--(?=[ \]]|$))|\b([A-Z]{2,}|N)\b(?!-)")
_ACRONYMS = frozenset(
    ("AUX", "BPF", "BRBE", "CPU", "CSV", "JSON", "LBR", "NUMA", "SIGTERM", "SMMU", "SPE")
)


class Page(NamedTuple):
    """One page: its source, and the command that it tells of."""

    source: Path
    command: click.Command
    ctx: click.Context

    @property
    def target(self) -> Path:
        return MAN / self.source.name[: -len(".in")]


def pages() -> Iterator[Page]:
    """All pages, that of kperf itself first."""
    root = click.Context(main.cli, info_name="kperf", **main.cli.context_settings)
    for source in sorted((MAN / "src").glob("*.1.in")):
        name = source.name.partition(".")[0].partition("-")[2]
        command = importlib.import_module(f"kperf_cli.{name}").command if name else main.cli
        ctx = click.Context(command, info_name=name, parent=root) if name else root
        yield Page(source, command, ctx)


class Additions:
    """What the manual adds to the help of one command."""

    def __init__(self, lines: Sequence[str], shared: Additions | None = None) -> None:
        self._blocks: dict[tuple[str, str], list[str]] = {}
        self._shared = shared
        block: list[str] = []
        for line in lines:
            if line.startswith("@"):
                kind, _, key = line.partition(" ")
                block = self._blocks[kind, key] = []
            else:
                block.append(line)
        self._unused = set(self._blocks)

    def take(self, kind: str, key: str) -> list[str]:
        self._unused.discard((kind, key))
        return self._blocks.get((kind, key), [])

    def more(self, option: str) -> list[str]:
        if self._shared is not None and ("@more", option) not in self._blocks:
            return self._shared.take("@more", option)
        return self.take("@more", option)

    def unused(self) -> list[str]:
        return sorted(" ".join(block) for block in self._unused)


# ---- man(7) ----


def escape(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")


def marked(text: str) -> str:
    """Options in bold, values in italics."""
    parts, at = [], 0
    for found in _WORD.finditer(text):
        if found[0] in _ACRONYMS:
            continue
        font = "B" if found[1] else "I"
        parts += [escape(text[at : found.start()]), f"\\f{font}{escape(found[0])}\\fR"]
        at = found.end()
    return "".join([*parts, escape(text[at:])])


def filled(text: str) -> Iterator[str]:
    """The text in lines; none of them is taken for a request."""
    line = ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > WIDTH:
            yield line
            line = word
        else:
            line = f"{line} {word}" if line else word
        if line[0] in ".'":
            line = f"\\&{line}"
    yield line


# ---- the parts that commands tell ----


def summary(page: Page) -> str:
    first = (page.command.help or "").partition("\n\n")[0]
    words = " ".join(first.replace("\b", "").split()).rstrip(".")
    return words[0].lower() + words[1:]


def name_of(page: Page) -> list[str]:
    title = page.ctx.command_path.replace(" ", "-")
    return [".SH NAME", *filled(f"{escape(title)} \\- {escape(summary(page))}")]


def synopsis_of(page: Page) -> list[str]:
    lines = [".SH SYNOPSIS"]
    for number, form in enumerate(options.forms_of(page.command, page.ctx)):
        lines += [".br"] * (number > 0)
        lines += [f".B {escape(page.ctx.command_path)}", *filled(marked(form))]
    return lines


def entry(term: str, words: str, additions: Additions) -> list[str]:
    """An option: its names with its value, what help says, what the manual adds."""
    names = re.findall(r"--?[A-Za-z][\w-]*", term.partition("[")[0])
    value = term[term.rindex(names[-1]) + len(names[-1]) :].strip()
    shown = ' ", " '.join(map(escape, names)) + (f' " \\fI{escape(value)}\\fR"' if value else "")
    macro = "BR" if value or len(names) > 1 else "B"
    return [".TP", f".{macro} {shown}", *filled(marked(words)), *additions.more(names[-1])]


def options_of(page: Page, additions: Additions) -> list[str]:
    lines = [".SH OPTIONS", *additions.take("@before", "")]
    for section, records in options.sections_of(page.command, page.ctx):
        title = section.partition(" (")[0]
        lines += [f".SS {escape(section)}", *additions.take("@before", title)] if section else []
        for term, words in records:
            lines += entry(term, words, additions)
        after = additions.take("@after", title) if title else []
        lines += [".PP", *after] if after else []
    after = additions.take("@after", "")
    return lines + ([".PP", *after] if after else [])


# ---- a page ----


def written(page: Page, shared: Additions) -> str:
    """The page; ValueError where its source adds to what the command has not."""
    lines = page.source.read_text(encoding="utf-8").splitlines()
    begin, end = lines.index("@options"), lines.index("@end")
    additions = Additions(lines[begin + 1 : end], shared)
    parts = {"@name": name_of(page), "@synopsis": synopsis_of(page)}
    head = [text for line in lines[:begin] for text in parts.get(line, [line])]
    told = f'.\\" Written by man/generate.py from man/src/{page.source.name}: change that one.'
    made = [head[0], told, *head[1:], *options_of(page, additions), *lines[end + 1 :]]
    if additions.unused():
        raise ValueError(f"{page.source}: there is nothing to add to: {additions.unused()}")
    return "\n".join(made) + "\n"


def generate(*, check: bool) -> int:
    shared = Additions((MAN / "src" / SHARED).read_text(encoding="utf-8").splitlines())
    stale = []
    for page in pages():
        text = written(page, shared)
        if page.target.exists() and page.target.read_text(encoding="utf-8") == text:
            continue
        stale.append(page.target.name)
        if not check:
            page.target.write_text(text, encoding="utf-8")
    if shared.unused():
        raise ValueError(f"{SHARED}: no command has: {shared.unused()}")
    if stale and check:
        print(f"kperf: not as help and man/src have it: {', '.join(stale)}: run make man")
    return 1 if stale and check else 0


if __name__ == "__main__":
    sys.exit(generate(check="--check" in sys.argv[1:]))
