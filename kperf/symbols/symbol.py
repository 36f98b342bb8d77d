"""What an address is called."""

from __future__ import annotations

UNKNOWN = "[unknown]"
HIDDEN_KERNEL = "[kernel]"  # all of it, where its symbols are hidden
KERNEL_MODULE = "[kernel.kallsyms]"


class Symbol:
    """The function that an address lies in; one that has no name is called `[unknown]`.

    addr            the address itself
    module          path of the mapped file, or such as [kernel.kallsyms], [ext4], [vdso], //anon
    symbolName      the name to read; mangleName the one in the file
    offset          from the function's start; of an unknown one from its module's start
    codeMapAddr     where the function begins in the process, and codeMapEndAddr behind its end;
                    of an unknown one the mapping it lies in
    fileName        source file and lineNum its line; "" and 0 where they are not known
    count           samples whose stack holds it: set by who counts
    inlined         whether the compiler made it a part of the function that calls it: offset,
                    codeMapAddr and codeMapEndAddr are that function's then
    expanded        where functions were inlined at the address: each of them from the innermost
                    out, and this function as the last one, at the line of its call; else empty
    """

    __slots__ = (
        "addr",
        "codeMapAddr",
        "codeMapEndAddr",
        "count",
        "expanded",
        "fileName",
        "inlined",
        "lineNum",
        "mangleName",
        "module",
        "offset",
        "symbolName",
    )

    def __init__(
        self,
        addr: int,
        module: str,
        symbolName: str = UNKNOWN,
        mangleName: str = "",
        offset: int = 0,
        codeMapAddr: int = 0,
        codeMapEndAddr: int = 0,
    ) -> None:
        self.addr = addr
        self.module = module
        self.symbolName = symbolName
        self.mangleName = mangleName or symbolName
        self.fileName = ""
        self.lineNum = 0
        self.offset = offset
        self.codeMapAddr = codeMapAddr
        self.codeMapEndAddr = codeMapEndAddr
        self.count = 0
        self.inlined = False
        self.expanded: tuple[Symbol, ...] = ()

    @property
    def resolved(self) -> bool:
        """Whether a function was found."""
        return self.symbolName not in (UNKNOWN, HIDDEN_KERNEL)

    def __repr__(self) -> str:
        return f"Symbol({self.symbolName}+{self.offset:#x} in {self.module}, addr={self.addr:#x})"
