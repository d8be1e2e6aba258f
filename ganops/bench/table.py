"""The table in the terminal: one line per row, the rows that lose marked, the floors with PASS or MISS."""

from __future__ import annotations

from typing import Any

from ganops.bench.case import COMPILE, EAGER, GROUPS, POPULAR
from ganops.bench.measure import UNDECIDED, fastest, verdict

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
_GRAPH_COLUMNS = (("graph us", 8, ">"), ("% copy", 7, ">"), ("x best", 7, ">"))


def has_graphs(report: dict[str, Any]) -> bool:
    """Whether the table has the columns of CUDA graphs."""
    return report["machine"]["device"] == "cuda"


def _line(cells: list[str]) -> str:
    columns = (_COLUMNS + _GRAPH_COLUMNS)[: len(cells)]
    return " ".join(f"{cell:{align}{width}}" for cell, (_, width, align) in zip(cells, columns, strict=True))


def _lead(figures: dict[str, Any] | None) -> str:
    """A rival's time over ours; "~" before one that lies within its spread of 1."""
    if figures is None:
        return "-"
    return ("~" if verdict(figures) == UNDECIDED else "") + _number(figures["ratio"])


def _graph_cells(record: dict[str, Any]) -> list[str]:
    replayed = record.get("graph")
    if replayed is None:
        return ["-", "-", "-"]
    best = min(replayed["rivals"].values(), key=lambda figures: figures["ratio"], default=None)
    copy = f"{replayed['copy_fraction']:.0%}" if "copy_fraction" in replayed else "-"
    return [_time(replayed["ours"]["us"]), copy, _lead(best)]


def _number(value: float | None, suffix: str = "") -> str:
    if value is None:
        return "-"
    return (f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}") + suffix


def _time(microseconds: float) -> str:
    return f"{microseconds:,.0f}" if microseconds >= 1000 else f"{microseconds:.1f}"


def header(graph: bool = False) -> str:
    """The titles of the columns."""
    line = _line([title for title, _, _ in (*_COLUMNS, *(_GRAPH_COLUMNS if graph else ()))])
    return f"{line}\n{'-' * len(line)}"


def line(record: dict[str, Any], graph: bool = False) -> str:
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
        *(_lead(fastest(record, group)) for group in (POPULAR, EAGER, COMPILE)),
        *(_graph_cells(record) if graph else ()),
    ]
    text = _line(cells)
    losses = [*record["loses_to"], *(f"{name} in a graph" for name in record.get("graph", {}).get("loses_to", ()))]
    if losses:
        text += f"  {LOSES}{', '.join(losses)}"
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
        "of torch.compile, over ours (above 1 ours is faster).  ~: within the spread, no verdict.  << names the rivals "
        "that are faster."
    )
    if machine["device"] == "cuda":
        lines.append("The last three columns: replayed from a CUDA graph, without Python; x best is the fastest rival.")
    return "\n".join(lines)


def _losses(records: list[dict[str, Any]], where: str) -> list[str]:
    losing = [record for record in records if record["loses_to"]]
    close = sum(any(verdict(rival) == UNDECIDED for rival in record["rivals"].values()) for record in records)
    lines = [f"{len(losing)} of {len(records)} rows lose to a rival{where}, {close} have one within the spread"]
    for record in losing:
        rivals = (f"{name} {record['rivals'][name]['ratio']:.2f}" for name in record["loses_to"])
        lines.append(f"  {record['name']}: {', '.join(rivals)}")
    return lines


def summary(records: list[dict[str, Any]]) -> str:
    """How many rows lose, and by how much; how many have a rival too close to tell."""
    measured = [record for record in records if "error" not in record]
    lines = _losses(measured, "")
    replayed = [{"name": record["name"], **record["graph"]} for record in measured if "graph" in record]
    if replayed:
        lines += _losses(replayed, " in a graph")
    failed = len(records) - len(measured)
    if failed:
        lines.append(f"{failed} of {len(records)} rows FAILED: their candidates disagree or cannot run (see above).")
    return "\n".join(lines)


def floor_line(floor: dict[str, Any]) -> str:
    """Wanted and reached ratio to each rival of a floor; where one is missed, what an empty node would reach."""
    parts = []
    for rival, figures in floor["beats"].items():
        reached = "-" if figures["reached"] is None else f"{figures['reached']:.2f}"
        if figures.get("spread") is not None:
            reached += f" ± {figures['spread']:.2f}"
        label = rival if rival in GROUPS else f"'{rival}'"
        missed = "" if figures["holds"] else " <<"
        if missed and figures.get("node") is not None:
            missed += f" (an empty node: {figures['node']:.2f})"
        parts.append(f"{label} >= {figures['wanted']:g}: {reached}{missed}")
    return f"{'PASS' if floor['holds'] else 'MISS'}  {floor['name']:<58} {'   '.join(parts)}"


def floor_table(floors: list[dict[str, Any]]) -> str:
    """All floors with their verdicts, and the count."""
    missed = sum(not floor["holds"] for floor in floors)
    lines = ["Floors (ratios of medians to keep, within the spread of the ratio)", *map(floor_line, floors)]
    lines.append(
        f"{len(floors) - missed} of {len(floors)} rows hold their floors" + (f", {missed} MISS." if missed else ".")
    )
    return "\n".join(lines)
