"""The picture of a run: the ratio to each rival per row, and the throughput against the machine's copy rate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ganops._files import write_atomically
from ganops.bench.case import GROUPS
from ganops.bench.measure import ratio

_MARKS = {"popular": ("o", "tab:blue"), "best eager": ("s", "tab:orange"), "compile": ("^", "tab:green")}


def plot(report: dict[str, Any], path: Path) -> None:
    """Draws ``report`` (see ``command``) into an image file. Needs matplotlib (extra ``bench``)."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise SystemExit(
            "ganops bench: --plot needs matplotlib; install it with: pip install 'ganops[bench]'"
        ) from None

    records = [record for record in report["rows"] if "error" not in record]
    machine = report["machine"]
    height = max(4.5, 1.6 + 0.19 * len(records))
    # A Figure without pyplot draws to a file whatever the display.
    figure = Figure(figsize=(15, height), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))

    places = range(len(records))
    for group in GROUPS:
        found = [(place, ratio(record, group)) for place, record in zip(places, records, strict=True)]
        found = [(place, value) for place, value in found if value is not None]
        mark, colour = _MARKS[group]
        if found:
            left.plot(
                [value for _, value in found], [place for place, _ in found], mark, color=colour, label=group, ms=5
            )
    lowest = min((rival["ratio"] for record in records for rival in record["rivals"].values()), default=1)
    left.set_xscale("log")
    left.set_xlim(left=min(0.7, 0.9 * lowest))
    left.axvspan(left.get_xlim()[0], 1, color="tab:red", alpha=0.1, lw=0)
    left.axvline(1, color="tab:red", lw=1)
    left.set_xticks([value for value in (0.5, 1, 2, 5, 10, 20, 50, 100) if value < left.get_xlim()[1]])
    left.xaxis.set_major_formatter(lambda value, _: f"{value:g}x")
    left.xaxis.set_minor_formatter(lambda value, _: "")
    names = [record["name"].replace("/float32", "").replace("/", "  ") for record in records]
    left.set_yticks(list(places), names, fontsize=8)
    for tick, record in zip(left.get_yticklabels(), records, strict=True):
        if record["loses_to"]:
            tick.set_color("tab:red")
    left.set_ylim(len(records) - 0.5, -0.5)
    left.grid(alpha=0.3)
    left.set_xlabel("rival's time / ours (right of 1: ours is faster; shaded: a rival wins)")
    left.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, frameon=False)

    bound = sorted((record for record in records if "gb_per_s" in record), key=lambda record: record["bytes_footprint"])
    sizes = [record["bytes_footprint"] for record in bound]
    if bound:
        right.plot(
            sizes, [record["copy_gb_per_s"] for record in bound], "-", color="0.5", label="copy of as many bytes"
        )
        ops = dict.fromkeys(record["op"] for record in bound)
        for op in ops:
            of_op = [record for record in bound if record["op"] == op]
            right.plot(
                [record["bytes_footprint"] for record in of_op],
                [record["gb_per_s"] for record in of_op],
                "o",
                ms=5,
                label=op,
            )
        right.set_xscale("log", base=2)
        right.set_yscale("log")
        right.set_xticks([2**power for power in range(0, 40, 4) if sizes[0] <= 2**power <= 2 * sizes[-1]])
        right.axvline(machine["last_level_cache"], color="0.5", ls=":", lw=1, label="last-level cache")
        right.xaxis.set_major_formatter(lambda value, _: _bytes(value))
        right.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        right.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, fontsize=8, frameon=False)
    right.grid(alpha=0.3)
    right.set_xlabel("distinct memory touched per call")
    right.set_ylabel("GB/s (least bytes of the op / time)")
    where = machine.get("gpu") if machine["device"] == "cuda" else f"{machine['cpu']}, {machine['threads']} threads"
    figure.suptitle(f"ganops {machine['ganops']}, torch {machine['torch']}, {where}, {machine['date'][:10]}")
    write_atomically(path, lambda file: figure.savefig(file, format=path.suffix[1:], dpi=110))


def _bytes(value: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:g} {unit}"
        value /= 1024
    return f"{value:g} GiB"
