"""Reads SASS, the machine code of a GPU: what each kernel keeps in flight from memory before it waits.

A warp runs in order. It stops at the first instruction that names a register which a load has yet to fill, so that the
loads before that instruction are under way together, and those behind it are not. Loads return in their order. The
code is read from top to bottom; a jump backwards or out of line ends what is counted together.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

INSTRUCTION = re.compile(r"^\s+/\*([0-9a-f]{4,})\*/\s+(@!?U?P\w+ )?(\S+)\s*(.*?)\s*;")
USAGE = re.compile(r"Function (\S+):\s+REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)")


@dataclass(frozen=True)
class Kernel:
    """One kernel of compute capability 9.0.

    ``batches`` holds how many 16-byte loads a thread has under way together, for each place of the code that loads so.
    """

    batches: tuple[int, ...]
    registers: int
    shared: int
    local: int

    @property
    def blocks(self) -> int:
        """Blocks of 256 threads that a multiprocessor holds at once: 64 K registers, 228 KB, 2,048 threads."""
        per_warp = -(-self.registers * 32 // 256) * 256
        by_registers = 16384 // per_warp * 4 // 8  # four schedulers, each with its own quarter
        by_shared = (228 << 10) // (-(-(self.shared + 1024) // 128) * 128)
        return min(8, by_registers, by_shared)

    def in_flight(self, loads: int) -> float:
        """KB of a multiprocessor's threads that have each so many loads under way."""
        return self.blocks * 256 * 16 * loads / 1024


def tools() -> Path | None:
    """The folder of cuobjdump and nvdisasm, as the wheels nvidia-cuda-cuobjdump and nvidia-cuda-nvdisasm have them."""
    found = importlib.util.find_spec("nvidia")
    for place in (found.submodule_search_locations or ()) if found else ():
        for folder in sorted(Path(place).glob("cu*/bin")):
            if (folder / "cuobjdump").exists() and (folder / "nvdisasm").exists():
                return folder
    return None


def disassemble(binary: Path) -> str:
    """What cuobjdump says of a cubin or an object file: resources and machine code for sm_90."""
    folder = tools()
    assert folder is not None
    path = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    run = [folder / "cuobjdump", "-arch", "sm_90"] if binary.suffix == ".o" else [folder / "cuobjdump"]
    what = ("-res-usage", "-sass")
    return "\n".join(
        subprocess.run([*run, option, binary], env=path, capture_output=True, text=True, check=True).stdout
        for option in what
    )


def read(text: str) -> dict[str, Kernel]:
    """{mangled name: its kernel} of what ``disassemble`` gives."""
    head, *functions = re.split(r"^\s+Function : ", text, flags=re.M)
    usage = {name: list(map(int, numbers)) for name, *numbers in USAGE.findall(head)}
    found = {}
    for function in functions:
        name, _, body = function.partition("\n")
        registers, stack, shared, local = usage[name.strip()]
        found[name.strip()] = Kernel(batches(body), registers, shared, stack + local)
    return found


def batches(code: str) -> tuple[int, ...]:
    """The 16-byte loads under way together, batch after batch, in one function's instructions."""
    found: list[int] = []
    flying: list[range] = []  # registers that loads under way will fill, oldest first
    most = 0
    for address, guard, opcode, operands in (
        match.groups() for line in code.splitlines() if (match := INSTRUCTION.match(line))
    ):
        named = {int(number) for number in re.findall(r"\bR(\d+)", operands)}
        landed = max((i + 1 for i, registers in enumerate(flying) if named & set(registers)), default=0)
        if opcode == "BRA" and (guard is None or int(operands.rpartition("0x")[2], 16) <= int(address, 16)):
            landed = len(flying)
        if guard is None and opcode.startswith(("EXIT", "RET")):
            landed = len(flying)
        del flying[:landed]
        if landed and not flying:
            found.append(most)
            most = 0
        if opcode.startswith("LDG.") and "128" in opcode:
            first = int(re.match(r"R(\d+)", operands)[1])
            flying.append(range(first, first + 4))
            most = max(most, len(flying))
    return (*found, *([most] if most else []))
