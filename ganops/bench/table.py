"""The table in the terminal: one line per row, the rows that lose marked, the floors with PASS or MISS."""

from __future__ import annotations

from typing import Any

from ganops.bench.case import COMPILE, EAGER, GROUPS, POPULAR
from ganops.bench.measure import ratio

LOSES = "<< "
_COLUMNS = (
    ("op", 35, "<"),
    ("size", 14, "<"),
    ("phase", 8, "<"),
    ("us", 9, ">"),
    ("+-IQR/2", 7, ">"),
    ("GB/s", 7, ">"),
    ("% copy", 7, ">"),
    ("% node", 7, ">"),
    ("x popular", 9, ">"),
    ("x eager", 8, ">"),
    ("x compile", 9, ">"),
)


def _line(cells: list[str]) -> str:
    return " ".join(f"{cell:{align}{width}}" for cell, (_, width, align) in zip(cells, _COLUMNS, strict=True))


def _number(value: float | None, suffix: str = "") -> str:
    if value is None:
        return "-"
    return (f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}") + suffix


def _time(microseconds: float) -> str:
    return f"{microseconds:,.0f}" if microseconds >= 1000 else f"{microseconds:.1f}"


def header() -> str:
    """The titles of the columns."""
    line = _line([title for title, _, _ in _COLUMNS])
    return f"{line}\n{'-' * len(line)}"


def line(record: dict[str, Any]) -> str:
    """One row. A ratio is the rival's time over ours: above 1, ours is faster."""
    op = " ".join(part for part in (record["op"], record["variant"]) if part)
    if record["dtype"] != "float32":
        op += " " + record["dtype"].replace("bfloat", "bf").replace("float", "fp")
    if "error" in record:
        return f"{op:<35} {record['size']:<14} {record['phase']:<8} FAILED: {record['error']}"
    ours = record["ours"]
    cells = [
        op,
        record["size"],
        record["phase"],
        _time(ours["us"]),
        _time((ours["us_q3"] - ours["us_q1"]) / 2),
        _number(record.get("gb_per_s")),
        *(f"{record[share]:.0%}" if share in record else "-" for share in ("copy_fraction", "node_fraction")),
        *(_number(ratio(record, group)) for group in (POPULAR, EAGER, COMPILE)),
    ]
    text = _line(cells)
    if record["loses_to"]:
        text += f"  {LOSES}{', '.join(record['loses_to'])}"
    if "bound" in record:
        text += f"\n    bound by {record['bound']}"
    return "\n".join([text, *(f"    note: {note}" for note in record["notes"])])


def heading(machine: dict[str, Any]) -> str:
    """What the figures were measured on, and how to read them."""
    build = machine.get("build")
    where = machine.get("gpu") if machine["device"] == "cuda" else f"{machine['cpu']}, {machine['threads']} threads"
    lines = [
        f"ganops {machine['ganops']} ({machine['revision'] or 'installed'}), torch {machine['torch']}, {where}, "
        f"last-level cache {machine['last_level_cache'] / 2**20:.0f} MiB",
    ]
    kernels = (build or {}).get(machine["device"], {})
    if not kernels.get("used"):
        problem = kernels.get("problem") or "no compiled library"
        lines.append(f"NOT the kernels but the plain PyTorch reference is measured ({problem}); see ganops info.")
    if machine.get("load_before", 0) > 0.5 * (machine["cores"] or 1):
        lines.append(f"The machine is busy (load {machine['load_before']}): times will scatter, ratios less.")
    lines.append(
        "x popular, x eager, x compile: time of the formula as repositories write it, of the best eager form, "
        "of torch.compile, over ours (above 1 ours is faster).  << names the rivals that are faster."
    )
    return "\n".join(lines)


def summary(records: list[dict[str, Any]]) -> str:
    """How many rows lose, and by how much."""
    measured = [record for record in records if "error" not in record]
    losing = [record for record in measured if record["loses_to"]]
    lines = [f"{len(losing)} of {len(measured)} rows lose to a rival" + (":" if losing else ".")]
    for record in losing:
        rivals = (f"{name} {record['rivals'][name]['ratio']:.2f}" for name in record["loses_to"])
        lines.append(f"  {record['name']}: {', '.join(rivals)}")
    failed = len(records) - len(measured)
    if failed:
        lines.append(f"{failed} of {len(records)} rows FAILED: their candidates disagree or cannot run (see above).")
    return "\n".join(lines)


def floor_line(floor: dict[str, Any]) -> str:
    """Wanted and reached ratio to each rival of a floor; where one is missed, what an empty node would reach."""
    parts = []
    for rival, figures in floor["beats"].items():
        reached = "-" if figures["reached"] is None else f"{figures['reached']:.2f}"
        label = rival if rival in GROUPS else f"'{rival}'"
        missed = "" if figures["holds"] else " <<"
        if missed and figures.get("node") is not None:
            missed += f" (an empty node: {figures['node']:.2f})"
        parts.append(f"{label} >= {figures['wanted']:g}: {reached}{missed}")
    return f"{'PASS' if floor['holds'] else 'MISS'}  {floor['name']:<58} {'   '.join(parts)}"


def floor_table(floors: list[dict[str, Any]]) -> str:
    """All floors with their verdicts, and the count."""
    missed = sum(not floor["holds"] for floor in floors)
    lines = ["Floors (ratios of medians to keep)", *map(floor_line, floors)]
    lines.append(
        f"{len(floors) - missed} of {len(floors)} rows hold their floors" + (f", {missed} MISS." if missed else ".")
    )
    return "\n".join(lines)
