"""The form of a report (``--json``), which is checked before one is shown again."""

from __future__ import annotations

from typing import Any

__all__ = ["SCHEMA", "problem"]

SCHEMA = 1

_NUMBER, _NOTHING = (int, float), type(None)
_TIMES = {"us": _NUMBER, "us_q1": _NUMBER, "us_q3": _NUMBER}
_RIVAL = {"group": str, "ratio": _NUMBER, "ratio_q1": _NUMBER, "ratio_q3": _NUMBER}
# A key with "?" may be missing; under "*" is what all values of a dictionary are; a list holds what all entries are.
_COMPARED = {"ours": _TIMES, "rivals": {"*": _RIVAL}, "loses_to": [str]}
_NAMES = dict.fromkeys(("name", "op", "variant", "size", "dtype", "phase"), str)
_SHARES = dict.fromkeys(("gb_per_s?", "copy_gb_per_s?", "copy_fraction?", "node_fraction?"), _NUMBER)
_ROW = {**_NAMES, **_COMPARED, **_SHARES, "bytes_footprint?": _NUMBER, "bound?": str, "notes": [str]}
_ROW["graph?"] = {**_COMPARED, "copy_fraction?": _NUMBER}
_FAILED = {**_NAMES, "error": str}
_BEATEN = {"wanted": _NUMBER, "reached": (*_NUMBER, _NOTHING), "holds": bool}
_BEATEN |= {"spread?": (*_NUMBER, _NOTHING), "node?": (*_NUMBER, _NOTHING)}
_MACHINE = {
    "date": str, "cpu?": (str, _NOTHING), "gpu?": str, "threads": int, "cores": (int, _NOTHING), "torch": str,
    "device": str, "last_level_cache": _NUMBER, "ganops": (str, _NOTHING), "revision": (str, _NOTHING),
    "load_before?": _NUMBER,
}  # fmt: skip
_REPORT = {"machine": _MACHINE, "floors": [{"name": str, "beats": {"*": _BEATEN}, "holds": bool}]}


def problem(report: object) -> str | None:
    """What keeps a value from being a report of this version; None if it is one."""
    if not isinstance(report, dict) or report.get("schema") != SCHEMA:
        return f"it is not a report of this version (schema {SCHEMA})"
    rows = report.get("rows")
    if not isinstance(rows, list):
        return "rows must be a list"
    found = _mismatch(report, _REPORT, "")
    builds = report["machine"].get("build") if found is None else None
    if builds is not None:
        found = _mismatch(builds, {"cpu": dict, "cuda": dict}, "machine.build")
    for place, row in enumerate(rows):
        wanted = _FAILED if isinstance(row, dict) and "error" in row else _ROW
        found = found or _mismatch(row, wanted, f"rows[{place}]")
        if found is None and wanted is _ROW:
            for compared in filter(None, (row, row.get("graph"))):
                if not set(compared["loses_to"]) <= compared["rivals"].keys():
                    found = f"rows[{place}].loses_to names a rival that is not there"
    return found


def _mismatch(value: Any, wanted: Any, where: str) -> str | None:
    """Where a value differs from the wanted form, and how; None if it does not."""
    if isinstance(wanted, list):
        if not isinstance(value, list):
            return f"{where} must be a list"
        return next(filter(None, (_mismatch(x, wanted[0], f"{where}[{i}]") for i, x in enumerate(value))), None)
    if not isinstance(wanted, dict):
        kinds = wanted if isinstance(wanted, tuple) else (wanted,)
        held = isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))
        return None if held else f"{where} must be {' or '.join(kind.__name__ for kind in kinds)}"
    if not isinstance(value, dict):
        return f"{where} must be a dictionary"
    if "*" in wanted:
        return next(filter(None, (_mismatch(x, wanted["*"], f"{where}.{key}") for key, x in value.items())), None)
    for key, form in wanted.items():
        name = key.removesuffix("?")
        place = f"{where}.{name}" if where else name
        if name not in value:
            if not key.endswith("?"):
                return f"{place} is missing"
        elif (found := _mismatch(value[name], form, place)) is not None:
            return found
    return None
