"""``ganops``: train, sample and measure from the command line.

Each command is a function of its arguments that returns an exit code. Codes: 0 done; 1 the training failed (its loss
became NaN, or memory ran out) or a card did not pass; 2 the input was wrong; 128 + N stopped by signal N: 130 by
Ctrl-C, 143 by SIGTERM, 129 by SIGHUP.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ganops
from ganops._common import checks
from ganops._memory import available_memory, format_bytes, is_out_of_memory
from ganops._optional import require

__all__ = ["main"]


def _train(arguments: list[str]) -> int:
    """Train a GAN: ganops train RECIPE [--data NAME] [--steps N] [--out DIR] [--resume] ..."""
    require("tyro", "ganops train")
    from ganops.training import train
    from ganops.training.options import parse_train

    options = parse_train(arguments)
    config, folder = options.settings, options.folder
    print(f"{config.recipe} on {config.data}: {config.model}, {config.steps} steps, to {folder}", flush=True)
    summary = train(
        config,
        folder,
        resume=options.resume,
        overwrite=options.overwrite,
        allow_changes=options.allow_changes,
        log=options.log,
    )
    _print_summary(summary, folder)
    return 0


#: The metrics that are printed at the end of a run.
_SHOWN = (
    "modes", "high_quality", "reverse_kl", "sliced_wasserstein", "classes", "class_entropy", "frechet_distance",
    "nearest_real_ratio", "label_accuracy", "l1",
)  # fmt: skip


def _print_summary(summary: dict[str, Any], folder: Path) -> None:
    minutes, seconds = divmod(round(summary["seconds"]), 60)
    of = "" if summary["step"] == summary["steps"] else f" of {summary['steps']} (the time is over)"
    print(f"finished {summary['step']} steps{of} in {minutes} min {seconds} s")
    for name in _SHOWN:
        if summary.get(name) is not None:
            value = summary[name]
            total = f" of {summary[f'{name}_total']}" if f"{name}_total" in summary else ""
            print(f"  {name:<18} {value if isinstance(value, int) else format(value, '.3f')}{total}")
    if summary.get("best"):
        print(f"  {'best at step':<18} {summary['best']['step']}")
    for label, name in (
        ("samples", "samples.png"),
        ("losses", "curves.png"),
        ("numbers", "metrics.json"),
        ("settings", "config.json"),
        ("last state", "checkpoint.pt"),
        ("best state", "best.pt"),
    ):
        if (folder / name).exists():
            print(f"  {label:<18} {folder / name}")


def _sample(arguments: list[str]) -> int:
    """Draw samples from a trained generator: ganops sample CHECKPOINT [--count N] [--label K] [--out FILE] ..."""
    require("tyro", "ganops sample")
    from ganops.training import generator_of, load_checkpoint, sample_condition
    from ganops.training.noise import cpu_generator, normal
    from ganops.training.options import parse_sample
    from ganops.training.sampling import check_place, write

    options = parse_sample(arguments)
    options.check()
    state = load_checkpoint(options.checkpoint)
    generator, config = generator_of(state, ema=options.ema)
    form = options.chosen_format
    _check_count(options.count, config.latent_dim + (0 if form == "folder" else math.prod(state["extra"]["shape"])))
    condition = sample_condition(state, config, options.count, options.label)
    check_place(options.out, form, tuple(state["extra"]["shape"]), options.overwrite)
    random = cpu_generator(options.seed)
    z = normal(options.count, config.latent_dim, generator=random)
    end = normal(options.count, config.latent_dim, generator=random) if form == "gif" else None
    write(options.out, form, generator, z, condition, end=end, frames=options.frames)
    print(f"{options.count} samples of {config.recipe} on {config.data}: {options.out}")
    return 0


def _check_count(count: int, numbers: int) -> None:
    """Raise a `ValueError` if so many samples of so many numbers do not fit into memory, picture included."""
    need, have = 3 * 4.0 * count * numbers, available_memory()
    if need > have:
        raise ValueError(
            f"count {count:,} needs {format_bytes(need)} of memory, and {format_bytes(have)} are available; draw fewer"
        )


def _evaluate(arguments: list[str]) -> int:
    """Measure a trained generator again: ganops evaluate CHECKPOINT [--out FILE] [--seed S]"""
    require("tyro", "ganops evaluate")
    from ganops.training import evaluate_checkpoint, report
    from ganops.training.folder import check_output
    from ganops.training.options import parse_evaluate

    options = parse_evaluate(arguments)
    options.check()
    if options.out is not None:
        check_output(options.file, options.overwrite)
    found = evaluate_checkpoint(options.checkpoint, ema=options.ema, seed=options.seed)
    check_output(options.file, options.overwrite)
    # Before printing, since whoever reads the output may stop in the middle.
    report.write_json(options.file, {"checkpoint": options.checkpoint.name, **found})
    print(f"{found['recipe']} on {found['data']}, step {found['step']}: {found['samples_from']}")
    for name, value in found.items():
        if isinstance(value, int | float) and name not in ("step", "seed") and not name.endswith("_total"):
            total = f" of {found[f'{name}_total']}" if f"{name}_total" in found else ""
            print(f"  {name:<22} {value if isinstance(value, int) else format(value, '.4g')}{total}")
    print(f"  {'numbers':<22} {options.file}")
    return 0


def _export(arguments: list[str]) -> int:
    """Write a trained generator for other programs: ganops export CHECKPOINT --out FILE.safetensors|.pt2|.onnx"""
    require("tyro", "ganops export")
    from ganops.training import generator_of, load_checkpoint
    from ganops.training.export import export
    from ganops.training.folder import check_output
    from ganops.training.options import parse_export

    options = parse_export(arguments)
    options.check()
    state = load_checkpoint(options.checkpoint)
    generator, config = generator_of(state, ema=options.ema)
    check_output(options.out, options.overwrite)
    export(options.out, generator, config, state["extra"])
    print(f"generator of {config.recipe} on {config.data}, step {state['step']}: {options.out}")
    return 0


def _recipes(arguments: list[str]) -> int:
    """List recipes and data sets."""
    _no_arguments("recipes", arguments)
    from ganops.data import LOCATED, SOURCES
    from ganops.training import RECIPES

    print("recipes")
    for name, recipe in RECIPES.items():
        print(f"  {name:<12} {recipe.summary} ({recipe.paper})")
    print("data sets")
    for name, source in SOURCES.items():
        print(f"  {name:<14} {source.summary}")
    for source in LOCATED.values():
        print(f"  {source.summary}")
    print("the settings of a recipe: ganops train RECIPE --data NAME --help")
    return 0


def _cards(arguments: list[str]) -> int:
    """List the cards: published experiments that ganops card runs and checks."""
    _no_arguments("cards", arguments)
    from ganops.training.cards import CARDS

    for name, card in CARDS.items():
        seeds = "1 seed" if card.seeds == 1 else f"{card.seeds} seeds"
        takes = f"{card.minutes} minutes" if card.minutes < 120 else f"{card.minutes / 60:.0f} hours"
        print(f"{name}\n    {card.summary}\n    {card.paper}; {seeds}, about {takes} on two cores")
    print("to run a card: ganops card NAME")
    return 0


def _card(arguments: list[str]) -> int:
    """Run a card and compare it with the published results: ganops card NAME [--seeds N] [--out DIR]"""
    require("tyro", "ganops card")
    from ganops.training.cards import run_card, table
    from ganops.training.options import parse_card

    options = parse_card(arguments)
    outcomes = run_card(options.name, options.seeds, options.out, note=lambda line: print(line, flush=True))
    print(table(outcomes))
    passed = all(outcome.passed for outcome in outcomes)
    print("pass" if passed else "FAIL")
    return 0 if passed else 1


def _info(arguments: list[str]) -> int:
    """Print which kernels were built, and which of them this machine uses and why."""
    _no_arguments("info", arguments)
    print(json.dumps(ganops.build_info(), indent=2, default=str))
    return 0


def _bench(arguments: list[str]) -> int:
    """Compare the speed of the ops with other implementations: ganops bench [--quick] [--op STEM] ..."""
    from ganops.bench import main as bench

    return bench(arguments) or 0


def _figure(arguments: list[str]) -> int:
    """Draw a picture: ganops figure NAME [--out FILE] ...; ganops figure lists them."""
    require("tyro", "ganops figure")
    from ganops.figures import main as figure

    return figure(arguments)


def _no_arguments(command: str, arguments: list[str]) -> None:
    if arguments and arguments[0] not in ("-h", "--help"):
        raise ValueError(f"{command} takes no arguments, got {' '.join(arguments)}")


def _doctor(arguments: list[str]) -> int:
    """List what a step of your own training code computes and does not use: ganops doctor FILE.py:FUNCTION"""
    from ganops import doctor

    return doctor.main(arguments)


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "train": _train,
    "recipes": _recipes,
    "sample": _sample,
    "evaluate": _evaluate,
    "export": _export,
    "cards": _cards,
    "card": _card,
    "figure": _figure,
    "bench": _bench,
    "doctor": _doctor,
    "info": _info,
}


def _usage() -> str:
    lines = ["usage: ganops COMMAND [options]", ""]
    lines += [f"  {name:<10} {(command.__doc__ or '').splitlines()[0]}" for name, command in COMMANDS.items()]
    return "\n".join([*lines, "", "ganops COMMAND --help lists its options; ganops --version prints the version."])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code; for wrong input prints one line on standard error, no traceback."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files may hold bytes that are no text
        sys.stdout.reconfigure(errors="backslashreplace")
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_usage(), file=sys.stdout if arguments else sys.stderr)
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"ganops {ganops.__version__}")
        return 0
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        code, line = _run(arguments)
    if line:
        _print_error(line)
    return code


def _run(arguments: list[str]) -> tuple[int, str]:
    """Run a command: the exit code, and the line for standard error if it failed."""
    try:
        checks.choice("", "command", arguments[0], COMMANDS)
        return COMMANDS[arguments[0]](arguments[1:]), ""
    except KeyboardInterrupt as interrupt:
        return getattr(interrupt, "exit_code", 130), str(interrupt) or "stopped by Ctrl-C"
    except FloatingPointError as error:
        return 1, str(error)
    except (ValueError, TypeError, OSError, ModuleNotFoundError) as error:
        return 2, str(error) or type(error).__name__
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        reason = (str(error).splitlines() or [""])[0].rpartition("Allocator: ")[2] or "no reason given"
        return 1, f"out of memory: {reason}; choose a smaller --batch-size, --width or --count, or smaller data"


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    _print_error(f"warning: {message}")


def _print_error(text: str) -> None:
    """One line on standard error; nothing if that is gone, as after a dropped ssh."""
    with contextlib.suppress(OSError):
        print(f"ganops: {' '.join(text.split())}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
