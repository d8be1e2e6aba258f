"""``ganops bench``: the command line of the benchmarks. Needs torch alone, and matplotlib for ``--plot``."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import torch

from ganops._files import check_folder, write_atomically
from ganops.bench import cases, machine, table
from ganops.bench.case import Floor, Row, Suite
from ganops.bench.graph import capture
from ganops.bench.measure import Settings, fastest, measure, spread
from ganops.bench.report import SCHEMA, problem

FLOORS = "floors"
_SECONDS = {"quick": (0.2, 1e-3, 5), "default": (0.6, 2e-3, 9), "full": (1.5, 5e-3, 15), FLOORS: (2.0, 2e-3, 21)}

_DESCRIPTION = """\
Times each op against (a) the formula as popular repositories write it, (b) the best eager form and (c) torch.compile
of the formula, in interleaved rounds, and compares its throughput with that of a copy of as many bytes on this machine.
On a GPU also replayed from a CUDA graph, without Python."""
_SUITES = """\
suites:
  quick     about half a minute, more where torch.compile starts from nothing: the sizes that matter most
  default   some minutes: all kinds, from 64 logits to beyond the last-level cache
  full      every phase, half precision, tensors of 256 MiB and more
  floors    the speeds that must hold, each with target, reached ratio, PASS or MISS
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ganops bench",
        description=_DESCRIPTION,
        epilog=_SUITES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    suite = parser.add_mutually_exclusive_group()
    suite.add_argument("--suite", choices=list(_SECONDS), default="default", help="what to run (default: default)")
    suite.add_argument("--quick", dest="suite", action="store_const", const="quick", help="same as --suite quick")
    suite.add_argument("--full", dest="suite", action="store_const", const="full", help="same as --suite full")
    parser.add_argument(
        "--op", action="append", metavar="STEM", choices=cases.stems(),
        help=f"only this op family, may be repeated: {', '.join(cases.stems())}",
    )  # fmt: skip
    parser.add_argument("--filter", metavar="TEXT", default="", help="only rows whose name contains TEXT")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: torch's choice)")
    parser.add_argument("--seconds", type=float, metavar="S", help="time to measure each row for")
    parser.add_argument("--no-compile", dest="compile", action="store_false", help="leave torch.compile out")
    parser.add_argument(
        "--keep-memory", action="store_true",
        help="let the process keep freed memory, so that large results cost no page faults (CPU with glibc)",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="PATH", help="write everything measured")
    parser.add_argument("--plot", type=Path, metavar="PATH", help="draw ratios and throughput (.png, .svg, .pdf)")
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    parser.add_argument("--check", action="store_true", help="exit 1 if a floor is lost (with --suite floors)")
    parser.add_argument("--replay", type=Path, metavar="PATH", help="show a file written by --json, measure nothing")
    parser.add_argument("--list", action="store_true", help="name the rows, measure nothing")
    return parser


def _judge(floor: Floor, row: Row, record: dict[str, Any]) -> dict[str, Any]:
    """A floor's verdict: lost where a ratio stays below what is wanted by more than its spread, or where a rival was
    not measured (an error, --no-compile)."""
    beats = {}
    for rival, wanted in floor.beats.items():
        figures = None if "error" in record else fastest(record, rival)
        reached = None if figures is None else figures["ratio"]
        margin = None if figures is None else spread(figures)
        # To the two decimals shown: 2.996 is printed as 3.00 and counts as that.
        holds = reached is not None and round(reached, 2) >= wanted - margin
        beats[rival] = {"wanted": wanted, "reached": reached, "spread": margin, "holds": holds}
        if reached is not None and "node_fraction" in record:
            beats[rival]["node"] = reached / record["node_fraction"]
    return {"name": row.name, "beats": beats, "holds": all(figures["holds"] for figures in beats.values())}


def _show(report: dict[str, Any]) -> None:
    graph = table.has_graphs(report)
    print(table.heading(report["machine"]), table.header(graph), sep="\n\n")
    for record in report["rows"]:
        print(table.line(record, graph))


def _show_end(report: dict[str, Any]) -> None:
    print("", table.summary(report["rows"]), sep="\n")
    if report["floors"]:
        print("", table.floor_table(report["floors"]), sep="\n")


def _write(report: dict[str, Any], path: Path | None) -> None:
    """Whole at any time, so that a run which is cut off leaves the rows that it has measured."""
    if path is None:
        return
    text = json.dumps(report, indent=1) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))


def _run(rows: list[Row], settings: Settings, report: dict[str, Any], path: Path | None) -> None:
    """Measures the rows into the report, which is written after each."""
    for place, row in enumerate(rows, 1):
        if sys.stderr.isatty():
            print(f"[{place}/{len(rows)}] {row.name} …", end="\r", file=sys.stderr, flush=True)
        try:
            record = measure(row, settings)
        except Exception as error:  # one broken op must not cost the figures of the others
            case = row.case
            record = {
                "name": row.name, "op": case.op, "variant": case.variant, "size": case.size, "dtype": case.dtype_name,
                "phase": row.phase, "error": f"{type(error).__name__}: {error}",
            }  # fmt: skip
        if sys.stderr.isatty():
            print("\033[K", end="", file=sys.stderr, flush=True)
        print(table.line(record, table.has_graphs(report)), flush=True)
        report["rows"].append(record)
        _write(report, path)


def main(arguments: list[str] | None = None) -> int:
    """Runs the benchmarks. Returns 0, or 1 where a row failed or, with ``--check``, a floor was missed."""
    parser = _parser()
    options = parser.parse_args(arguments)
    _check(parser, options)
    if options.check and options.suite != FLOORS and not options.replay:
        parser.error("--check judges floors: add --suite floors")

    if options.replay:
        try:
            report = json.loads(options.replay.read_text())
        except (OSError, ValueError) as error:
            parser.error(f"--replay: cannot read {options.replay}: {error}")
        reason = problem(report)
        if reason is not None:
            parser.error(f"--replay: {options.replay} cannot be shown: {reason}")
        _show(report)
    else:
        families = options.op or cases.stems()
        if options.suite == FLOORS:
            floors = [(floor, row) for floor, row in cases.floors(families) if options.filter in row.name]
            rows = [row for _, row in floors]
        else:
            floors, suite = [], Suite[options.suite.upper()]
            rows = [row for row in cases.rows(families, suite) if options.filter in row.name]
        if not rows:
            parser.error(f"no row of suite {options.suite!r} matches")
        if options.list:
            print("\n".join(row.name for row in rows))
            return 0
        report = _measure(parser, options, rows, floors)

    _show_end(report)
    _write(report, options.json)
    if options.plot:
        from ganops.bench.plot import plot

        plot(report, options.plot)
    failed = any("error" in record for record in report["rows"])
    missed = options.check and not all(floor["holds"] for floor in report["floors"])
    return int(failed or missed)


def _check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Ends with an error for settings that would fail, or replace a file, after minutes of measuring."""
    if options.seconds is not None and not 0 <= options.seconds < math.inf:
        parser.error(f"--seconds must be finite and at least 0, got {options.seconds}")
    if options.threads is not None and options.threads < 1:
        parser.error(f"--threads must be at least 1, got {options.threads}")
    if options.plot is not None and options.plot.suffix not in (".png", ".svg", ".pdf"):
        parser.error(f"--plot must end in .png, .svg or .pdf, got {str(options.plot)!r}")
    for option in ("json", "plot"):
        path = getattr(options, option)
        if path is None:
            continue
        if path.exists() and not (options.overwrite and path.is_file()):
            parser.error(f"--{option}: {path} already exists; add --overwrite to replace a file, or choose another")
        try:
            check_folder(path.parent)
        except ValueError as error:
            parser.error(f"--{option}: {error}")


def _measure(
    parser: argparse.ArgumentParser, options: argparse.Namespace, rows: list[Row], floors: list[tuple[Floor, Row]]
) -> dict[str, Any]:
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: this torch finds no CUDA device")
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    if options.keep_memory and not machine.keep_freed_memory():
        parser.error("--keep-memory: this system's malloc cannot be told to")
    seconds, block, rounds = _SECONDS[options.suite]
    device = torch.device(options.device)
    settings = Settings(
        device=device,
        cache=machine.last_level_cache(device),
        seconds=seconds if options.seconds is None else options.seconds,
        block=block,
        minimum_rounds=rounds,
        compile=options.compile,
        capture=capture if device.type == "cuda" else None,
    )
    report: dict[str, Any] = {
        "schema": SCHEMA,
        "suite": options.suite,
        "keep_memory": options.keep_memory,
        "machine": machine.describe(device),
        "rows": [],
        "floors": [],
    }
    _show(report)
    start = time.perf_counter()
    _run(rows, settings, report, options.json)
    report["seconds"] = round(time.perf_counter() - start, 1)
    report["floors"] = [
        _judge(floor, row, record) for (floor, row), record in zip(floors, report["rows"], strict=bool(floors))
    ]
    return report
