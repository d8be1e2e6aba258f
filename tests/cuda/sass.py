"""Reads SASS, the machine code of a GPU: what each kernel keeps in flight from memory before it waits.

A warp runs in order. It stops at the first instruction that names a register which a load has yet to fill, so that the
loads before that instruction are under way together, and those behind it are not. Loads return in their order. The
code is read from top to bottom; a jump backwards or out of line ends what is counted together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

INSTRUCTION = re.compile(r"^\s+/\*([0-9a-f]{4,})\*/\s+(.*?)\s*;")
FUNCTION = re.compile(r"^\s+Function : (\S+)")
WIDE = 16  # bytes of the accesses that count


@dataclass
class Batch:
    """Loads of 16 bytes that a thread has under way together, and whether it stores 16 bytes before the next batch."""

    loads: int
    stores: int = 0


@dataclass
class Kernel:
    """The batches of one kernel's code, in their order."""

    batches: list[Batch] = field(default_factory=list)
    loads: int = 0
    read_only: int = 0

    @property
    def least(self) -> int:
        """Loads of the smallest batch."""
        return min((batch.loads for batch in self.batches), default=0)


def tools() -> Path | None:
    """The folder of cuobjdump and nvdisasm, as the wheels nvidia-cuda-cuobjdump and nvidia-cuda-nvdisasm have them."""
    import importlib.util

    found = importlib.util.find_spec("nvidia")
    for place in found.submodule_search_locations or () if found else ():
        for folder in sorted(Path(place).glob("cu*/bin")):
            if (folder / "cuobjdump").exists() and (folder / "nvdisasm").exists():
                return folder
    return None


def read(text: str) -> dict[str, Kernel]:
    """{mangled name: its kernel} of what ``cuobjdump -sass`` prints."""
    found: dict[str, Kernel] = {}
    lines: list[tuple[int, str]] = []
    for line in text.splitlines():
        if name := FUNCTION.match(line):
            lines = []
            found[name[1]] = lines  # type: ignore[assignment]
        elif instruction := INSTRUCTION.match(line):
            lines.append((int(instruction[1], 16), instruction[2]))
    return {name: _kernel(lines) for name, lines in found.items()}  # type: ignore[arg-type]


def _kernel(lines: list[tuple[int, str]]) -> Kernel:
    kernel = Kernel()
    flying: list[range] = []  # registers that loads under way will fill, oldest first
    most = 0

    def land(count: int) -> None:
        nonlocal most
        del flying[:count]
        if not flying and most:
            kernel.batches.append(Batch(most))
            most = 0

    for address, text in lines:
        guarded, opcode, operands = re.match(r"(@!?U?P\w+ )?(\S+)\s*(.*)", text).groups()
        # Of a load's operands the first is the one it fills, the others are addresses.
        named = {int(number) for number in re.findall(r"(?<!U)\bR(\d+)", operands)}
        if waits := [i for i, registers in enumerate(flying) if named & set(registers)]:
            land(waits[-1] + 1)
        if re.match(r"LDG\.\S*128", opcode):
            first = int(re.match(r"R(\d+)", operands)[1])
            flying.append(range(first, first + 4))
            most = max(most, len(flying))
            kernel.loads += 1
            kernel.read_only += ".CONSTANT" in opcode
        elif re.match(r"STG\.\S*128", opcode):
            if kernel.batches:
                kernel.batches[-1].stores += 1
        elif opcode == "BRA":
            target = int(operands.rpartition("0x")[2], 16)
            if target <= address or not guarded:
                land(len(flying))
        elif opcode in ("EXIT", "RET", "RET.REL.NODEC") and not guarded:
            land(len(flying))
    land(len(flying))
    return kernel


def resident_blocks(registers: int, threads: int, shared: int) -> int:
    """Blocks that a multiprocessor of compute capability 9.0 holds at once (CUDA C++ Programming Guide, table 30)."""
    per_warp = -(-registers * 32 // 256) * 256
    warps = threads // 32
    by_registers = 65536 // per_warp // 4 * 4 // warps  # four schedulers, each with its own registers
    by_shared = (228 << 10) // (-(-(shared + 1024) // 128) * 128)
    return min(2048 // threads, 32, by_registers, by_shared)
