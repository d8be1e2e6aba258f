"""The tables of docs/cards.md from the folders of cards.

ganops card pacgan-ring-short
python benchmarks/cards.py runs/cards/*
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

METRICS = {"high_quality": ".1%", "modes": ".4g", "reverse_kl": ".3f", "sliced_wasserstein": ".3f"}


def line(row: dict[str, Any]) -> str:
    """One metric of one variant, each seed's value after the mean."""
    form = METRICS.get(row["metric"], ".3g")
    values = [value for value in row["values"] if value is not None]  # infinite ones are kept as null
    mean = f"{sum(values) / len(values):{form}}" if len(values) == len(row["values"]) else "∞"
    seeds = ", ".join("none" if value is None else f"{value:{form}}" for value in row["values"])
    expected = published = ""
    if row["expected"] is not None:
        expected = " to ".join("∞" if end is None else f"{end:{form}}" for end in row["expected"])
        expected += f" ({', '.join(row['rivals'])}'s)" if row.get("rivals") else ""
    if row["published"] is not None:
        number, error = row["published"]
        published = f"{number:{form}}" + ("" if error is None else f" ± {error:g}")
    verdict = "" if row["expected"] is None else "pass" if row["passed"] else "**FAIL**"
    return f"| {row['variant']} | {row['metric']} | {mean} ({seeds}) | {expected} | {published} | {verdict} |"


def main() -> None:
    """Print a table for each card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    for folder in parser.parse_args().folders:
        try:
            card = json.loads((folder / "card.json").read_text())
        except OSError as error:
            print(f"{folder}: {error.strerror}", file=sys.stderr)
            continue
        seeds = "seed 0" if card["seeds"] == 1 else f"seeds 0 to {card['seeds'] - 1}"
        print(f"\n**{card['card']}**, {seeds}\n")
        print("| | metric | here: mean (each seed) | expected | published | |\n|---|---|---|---|---|---|")
        for row in card["outcomes"]:
            print(line(row))


if __name__ == "__main__":
    main()
