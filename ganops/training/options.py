"""The options of the commands that train or use a run: typed dataclasses, which tyro turns into command lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from ganops._common import checks
from ganops.data import file_name
from ganops.training.checkpoint import load_checkpoint
from ganops.training.export import EXPORTS
from ganops.training.recipes import RECIPES, default_settings
from ganops.training.run import RunConfig
from ganops.training.sampling import ENDINGS
from ganops.training.settings_file import read_settings

__all__ = [
    "CardOptions",
    "EvaluateOptions",
    "ExportOptions",
    "SampleOptions",
    "TrainOptions",
    "parse_card",
    "parse_evaluate",
    "parse_export",
    "parse_sample",
    "parse_train",
]


#: A flag without a negation.
Flag = tyro.conf.FlagCreatePairsOff[bool]


@dataclass(frozen=True, kw_only=True)
class TrainOptions(RunConfig):
    """The settings of a run, and where it goes."""

    generator_lr: Annotated[float, tyro.conf.arg(aliases=["--lr-g"])] = RunConfig.generator_lr
    """Learning rate of the generator."""
    discriminator_lr: Annotated[float, tyro.conf.arg(aliases=["--lr-d"])] = RunConfig.discriminator_lr
    """Learning rate of the discriminator (two time scales: Heusel et al. 2017)."""
    recipe: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RECIPE")] = "hinge"
    """See ganops recipes for a list."""
    out: Path | None = None
    """Folder of the run; None: runs/RECIPE-DATA."""
    config: Path | None = None
    """Settings in a YAML or JSON file, such as another run's config.json, with the names of these options. Options on
    the command line replace them. A recipe in the file needs no RECIPE here."""
    log: tuple[Literal["tensorboard", "wandb"], ...] = ()
    """Write losses, metrics and pictures there as well: tensorboard (into the folder's tensorboard/), wandb."""
    resume: Flag = False
    """Continue the run in that folder with its settings."""
    overwrite: Flag = False
    """Replace the run in that folder."""
    allow_changes: Flag = False
    """With --resume, allow other data and other values of some settings (batch size, learning rates, penalty, ...); a
    warning names them."""

    def __post_init__(self) -> None:
        # tyro would wrap the messages of checks made here; `settings` checks.
        pass

    @property
    def settings(self) -> RunConfig:
        """The settings alone."""
        return RunConfig(**{field.name: getattr(self, field.name) for field in fields(RunConfig)})

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return _default_folder(self.recipe, self.data) if self.out is None else self.out


@dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """What to draw from which checkpoint."""

    checkpoint: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="CHECKPOINT")]
    """A run's folder, or its checkpoint.pt."""
    count: int = 64
    """Number of samples."""
    out: Path = Path("samples.png")
    """Where they go: see format."""
    format: Literal["auto", "grid", "npy", "npz", "folder", "gif"] = "auto"
    """grid: one picture; npy: the numbers; npz: arr_0 with images as uint8 (N, H, W, C), and arr_1 with the labels of a
    conditional generator; folder: an image file for each; gif: the picture, in which every sample walks along a closed
    path through latent space. auto: by the ending of out, .png, .npy, .npz or .gif; without an ending folder."""
    frames: int = 48
    """Frames of the gif."""
    seed: int = 0
    """Seed of z."""
    ema: bool = True
    """Draw from the moving average of the generator, if there is one."""
    label: int | None = None
    """The class to draw, from a conditional generator; None: every class in turn."""
    overwrite: Flag = False
    """Replace an existing file."""

    def check(self) -> None:
        """Raise a `ValueError` for values out of range."""
        if self.count < 1:
            raise ValueError(f"count must be at least 1, got {self.count}")
        if self.frames < 2:
            raise ValueError(f"frames must be at least 2, got {self.frames}")
        _check_seed(self.seed)
        if self.chosen_format not in ENDINGS:
            raise ValueError(
                f"out must end in {', '.join(filter(None, ENDINGS.values()))} or be a folder, got {str(self.out)!r}; "
                "choose another one, or a --format"
            )

    @property
    def chosen_format(self) -> str:
        """The format, by the ending of ``out`` if it is auto; an unknown ending as it is."""
        if self.format != "auto":
            return self.format
        return next((name for name, ending in ENDINGS.items() if self.out.suffix == ending), self.out.suffix)


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """Which checkpoint to measure."""

    checkpoint: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="CHECKPOINT")]
    """A run's folder, or its checkpoint.pt or best.pt."""
    out: Path | None = None
    """Output file; None: evaluation.json beside the checkpoint."""
    seed: int = 0
    """Seed of z; with 0 the metrics are those of metrics.json."""
    ema: bool = True
    """Measure the moving average of the generator, if there is one."""
    overwrite: Flag = False
    """Replace an existing file that is not the run's."""

    def check(self) -> None:
        """Raise a `ValueError` for values out of range."""
        _check_seed(self.seed)

    @property
    def file(self) -> Path:
        """The file for the numbers."""
        folder = self.checkpoint if self.checkpoint.is_dir() else self.checkpoint.parent
        return folder / "evaluation.json" if self.out is None else self.out


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Which generator to write where."""

    checkpoint: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="CHECKPOINT")]
    """A run's folder, or its checkpoint.pt or best.pt."""
    out: Path = Path("generator.safetensors")
    """The file. .safetensors: weights and settings, for ganops.training.load_generator; .pt2: a program for
    torch.export.load; .onnx: for ONNX runtimes. The number of samples is free in each."""
    ema: bool = True
    """The moving average of the generator, if there is one."""
    overwrite: Flag = False
    """Replace an existing file."""

    def check(self) -> None:
        """Raise a `ValueError` for another ending."""
        if self.out.suffix not in EXPORTS:
            raise ValueError(f"out must end in {', '.join(EXPORTS)}, got {str(self.out)!r}")


@dataclass(frozen=True, kw_only=True)
class CardOptions:
    """Which card to run."""

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]
    """See ganops cards for a list."""
    seeds: int | None = None
    """Number of runs of each variant; None: the card's."""
    out: Path | None = None
    """Folder of its runs; None: runs/cards/NAME. A card that was stopped continues from there."""


def _check_seed(seed: int) -> None:
    if not 0 <= seed < 2**63:
        raise ValueError(f"seed must be at least 0 and below 2^63, got {seed}")


def _check_not_empty(command: str, arguments: Sequence[str]) -> None:
    """Raise a `ValueError` for an empty path, which would be the working directory."""
    for before, argument in zip(("", *arguments), arguments, strict=False):
        option, equals, value = argument.partition("=")
        if argument.startswith("--") and equals and not value.strip():
            name = option
        elif not argument.strip():
            name = before if before.startswith("--") else ""
        else:
            continue
        if command != "train" or name == "--out":
            raise ValueError(
                f"{command}: {name.lstrip('-') or 'an argument'} is empty (an unset variable?); give a path, or '.' "
                "for the working directory"
            )


def _default_folder(recipe: str, data: str) -> Path:
    return Path("runs") / f"{recipe}-{file_name(data)}"


def _value(arguments: Sequence[str], name: str) -> str | None:
    """The last value of ``--name value`` or ``--name=value``, before the arguments are parsed."""
    found = None
    for i, argument in enumerate(arguments):
        if argument == f"--{name}" and i + 1 < len(arguments):
            found = arguments[i + 1]
        elif argument.startswith(f"--{name}="):
            found = argument.partition("=")[2]
    return found


def parse_train(arguments: Sequence[str]) -> TrainOptions:
    """The options of ``ganops train``.

    Most defaults depend on the recipe and the data, or on the run that is resumed. These are looked up first, and tyro
    then shows and parses the rest with those defaults.
    """
    _check_not_empty("train", arguments)
    helping = any(argument in ("-h", "--help") for argument in arguments)
    given = _value(arguments, "config")
    file = {} if given is None or helping else read_settings(given)
    named = [argument for argument in arguments if argument in RECIPES]
    named += [argument for argument in arguments[:1] if not argument.startswith("-")]
    if "recipe" in file:
        checks.choice(f"config: {given}", "recipe", file["recipe"], RECIPES)
        if not named:
            named = [file["recipe"]]
            arguments = [file["recipe"], *arguments]
    if not named and not helping:
        raise ValueError(f"train: RECIPE is missing; choose one of {', '.join(sorted(RECIPES))}")
    recipe = named[0] if named else "hinge"
    checks.choice("train", "recipe", recipe, RECIPES)
    data = _value(arguments, "data") or file.get("data") or RECIPES[recipe].data
    file = {name: value for name, value in file.items() if name not in ("recipe", "data")}
    if "--resume" in arguments and not helping:
        saved = load_checkpoint(_value(arguments, "out") or _default_folder(recipe, data))["config"]
        own = {f.name: saved[f.name] for f in fields(RunConfig) if f.name in saved}
        return _parse(arguments, own | file, recipe)
    base = default_settings(recipe, data) | file
    if not helping:
        # The options given may change the defaults of others: parse for them, then again with these defaults.
        asked = _parse(arguments, base, recipe)
        usually = TrainOptions(**base)
        changes = {f.name: getattr(asked, f.name) for f in fields(RunConfig) if f.name not in ("recipe", "data")}
        changes = {name: value for name, value in changes.items() if value != getattr(usually, name)}
        base = default_settings(recipe, data, **(file | changes)) | file
    return _parse(["--help"] if helping else arguments, base, recipe)  # tyro's help omits options that are given


#: Reads a choice as text. The config checks it, and its error names the nearest choice.
_CHOICES_AS_TEXT = ConstructorRegistry()


@_CHOICES_AS_TEXT.primitive_rule
def _(kind: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[str] | None:
    if get_origin(kind.type) is not Literal:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=f"{{{','.join(get_args(kind.type))}}}",
        instance_from_str=lambda texts: texts[0],
        is_instance=lambda value: isinstance(value, str),
        str_from_instance=lambda value: [value],
    )


def _parse(arguments: Sequence[str], defaults: dict[str, Any], recipe: str) -> TrainOptions:
    return tyro.cli(
        TrainOptions,
        prog="ganops train",
        description=f"Train a GAN by recipe: {', '.join(RECIPES)}. "
        f"The defaults below are those of {recipe} on {defaults['data']}.",
        args=arguments,
        default=TrainOptions(**defaults),
        registry=_CHOICES_AS_TEXT,
    )


def parse_sample(arguments: Sequence[str]) -> SampleOptions:
    """The options of ``ganops sample``."""
    _check_not_empty("sample", arguments)
    return tyro.cli(SampleOptions, prog="ganops sample", description="Draw from a trained generator.", args=arguments)


def parse_evaluate(arguments: Sequence[str]) -> EvaluateOptions:
    """The options of ``ganops evaluate``."""
    _check_not_empty("evaluate", arguments)
    return tyro.cli(EvaluateOptions, prog="ganops evaluate", description="Measure a trained generator.", args=arguments)


def parse_export(arguments: Sequence[str]) -> ExportOptions:
    """The options of ``ganops export``."""
    _check_not_empty("export", arguments)
    return tyro.cli(ExportOptions, prog="ganops export", description="Write a generator.", args=arguments)


def parse_card(arguments: Sequence[str]) -> CardOptions:
    """The options of ``ganops card``."""
    _check_not_empty("card", arguments)
    return tyro.cli(
        CardOptions,
        prog="ganops card",
        description="Run a card and check its results.",
        args=arguments,
    )
