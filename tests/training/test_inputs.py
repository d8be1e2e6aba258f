"""Networks, data and settings that a trainer cannot use are named; torch's defaults and little memory do no harm."""

import contextlib

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from ganops import cli, training
from ganops._memory import MemoryBudget, available_memory, format_bytes, is_out_of_memory
from ganops.cli import main
from ganops.training import Trainer, TrainingConfig, build_trainer, load_checkpoint, settings, train
from ganops.training.ema import MovingAverage

POINTS = torch.randn(64, 2, generator=torch.Generator().manual_seed(3))
CONFIG = {"latent_dim": 3, "batch_size": 8, "steps": 4}


def make(generator=None, discriminator=None, samples=POINTS, **options):
    torch.manual_seed(0)
    generator = nn.Linear(3, 2) if generator is None else generator
    discriminator = nn.Linear(2, 1) if discriminator is None else discriminator
    return Trainer(generator, discriminator, samples, TrainingConfig(**{**CONFIG, **options}))


# -- the moving average ----------------------------------------------------------------------------------------------


class Odd(nn.Module):
    """A generator with buffers that are no statistics."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 16)
        self.norm = nn.BatchNorm1d(16)
        self.out = torch.nn.utils.parametrizations.spectral_norm(nn.Linear(16, 2))
        self.register_buffer("order", torch.arange(15, -1, -1))
        self.register_buffer("mask", torch.zeros(16).masked_fill(torch.arange(16) > 7, -torch.inf))
        self.register_buffer("calls", torch.zeros(()), persistent=False)
        self.frozen = nn.Parameter(torch.full((2,), torch.inf), requires_grad=False)

    def forward(self, z):
        if self.training:
            self.order.copy_(self.order.roll(1))
            self.calls += 1
        return self.out(self.norm(self.layer(z))[:, self.order] + self.mask.exp())


def test_the_average_is_of_parameters_and_running_statistics_alone():
    trainer = make(Odd(), ema=0.9, generator_lr=0.1)
    wanted = {}
    for step in range(1, 7):
        trainer.step()
        decay = min(0.9, (1 + step) / (10 + step))
        for name, value in trainer.generator.state_dict().items():
            averaged = name in ("layer.weight", "norm.bias", "norm.running_mean", "norm.running_var")
            first = name not in wanted or not averaged
            wanted[name] = value.clone() if first else decay * wanted[name] + (1 - decay) * value
    average = trainer.ema.module
    for name in ("layer.weight", "norm.bias", "norm.running_mean", "norm.running_var"):
        torch.testing.assert_close(average.state_dict()[name], wanted[name])
        assert not torch.equal(average.state_dict()[name], trainer.generator.state_dict()[name])
    copied = [name for name in average.state_dict() if name.startswith("out.") and "_" in name.rpartition(".")[2]]
    assert len(copied) == 2  # spectral norm's vectors
    for name in ("order", "mask", "frozen", "norm.num_batches_tracked", *copied):
        assert torch.equal(average.state_dict()[name], trainer.generator.state_dict()[name]), name
    assert torch.equal(average.calls, trainer.generator.calls)
    assert trainer.sample(5).isfinite().all()


def test_the_average_keeps_the_networks_ties():
    shared = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    shared[1].weight = shared[0].weight
    average = MovingAverage(shared, 0.5)
    average.update(shared, 1)
    assert average.module[0].weight is average.module[1].weight


# -- networks and data -----------------------------------------------------------------------------------------------


def called_once(layer):
    layer(torch.zeros(2, layer.in_features))
    return layer


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (
            {"generator": nn.LazyLinear(2)},
            ValueError,
            "generator has a lazy layer whose weight is not initialised; call",
        ),
        ({"discriminator": nn.LazyLinear(1)}, ValueError, "discriminator has a lazy layer"),
        ({"generator": nn.Sequential(nn.LazyBatchNorm1d(), nn.Linear(3, 2))}, ValueError, "lazy layer whose 0.weight"),
        ({"generator": nn.Linear(3, 2, device="meta")}, ValueError, "generator has weight on the meta device"),
        ({"generator": lambda z: z}, TypeError, "generator must be a torch.nn.Module, got function"),
        ({"discriminator": None, "samples": 3}, TypeError, "data must be"),
        (
            {"generator": called_once(torch.nn.utils.weight_norm(nn.Linear(3, 2)))},
            ValueError,
            "generator keeps a computed tensor in weight.*parametrizations, or ema=0",
        ),
        (
            {"generator": nn.Sequential(called_once(torch.nn.utils.spectral_norm(nn.Linear(3, 2))))},
            ValueError,
            "generator keeps a computed tensor in 0.weight",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_networks_that_cannot_be_trained_are_named(arguments, error, text):
    with pytest.raises(error, match=text):
        make(**arguments)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_old_weight_norm_trains_without_an_average():
    trainer = make(torch.nn.utils.weight_norm(nn.Linear(3, 2)), torch.nn.utils.weight_norm(nn.Linear(2, 1)), ema=0.0)
    trainer.step()
    trainer.observe()


@pytest.mark.parametrize(
    ("samples", "text"),
    [
        (POINTS.double(), r"data has samples of torch.float64 and the generator's are torch.float32; .* data\.to"),
        (POINTS.half(), "data has samples of torch.float16 and the generator's are torch.float32"),
        ((POINTS * 9).to(torch.uint8), r"data has samples of torch.uint8.*data\.float\(\) / 127\.5 - 1"),
        ((POINTS * 9).long(), "data has samples of torch.int64"),
    ],
)
@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: DataLoader(TensorDataset(x), batch_size=8)])
def test_data_of_another_dtype_is_named(samples, text, wrap):
    with pytest.raises(TypeError, match=text):
        make(samples=wrap(samples)).step()


@pytest.mark.parametrize("name", ["generator", "discriminator"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_one_network_of_another_dtype_is_named(name, dtype):
    trainer = make()
    getattr(trainer, name).to(dtype)
    with pytest.raises(TypeError, match=r"data has samples of torch\.float32|has parameters of torch"):
        trainer.step()


def test_everything_in_float64_trains():
    trainer = make(nn.Linear(3, 2).double(), nn.Linear(2, 1).double(), POINTS.double(), penalty=1.0)
    assert trainer.step().dtype == torch.float64


# -- torch's defaults ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def defaults(device=None, dtype=None):
    before = torch.get_default_dtype()
    torch.set_default_device(device)
    torch.set_default_dtype(before if dtype is None else dtype)
    try:
        yield
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(before)


RUNS = {
    "wgan-gp": ("ring8?size=500", {}),
    "cgan": ("digits", {"pack": 2, "monitor_every": 2}),
    "unrolled": ("ring8?size=500", {"unroll": 1, "penalty": 0.1, "penalty_kind": "dragan"}),
}


@pytest.mark.parametrize("recipe", RUNS)
def test_default_dtype_and_device_change_no_run(recipe):
    """Fresh: building, steps, the monitor, samples."""
    source, options = RUNS[recipe]
    small = {"width": 6, "batch_size": 16, "steps": 2, "device": "cpu", "monitor_every": 0, **options}
    results = []
    for chosen in ({}, {"dtype": torch.float64}, {"device": "meta"}):
        with defaults(**chosen):
            trainer = build_trainer(settings(recipe, source, **small))
            losses = [trainer.step() for _ in range(2)]
            seen = trainer.observe(16)
            numbers = None if trainer.monitor is None else trainer.monitor.check(seen) or trainer.monitor.history
            results.append((torch.stack(losses), trainer.sample(20), seen.fake_logits, numbers))
    for *tensors, numbers in results[1:]:
        assert all(map(torch.equal, tensors, results[0]))
        assert numbers == results[0][-1]


def test_a_loader_that_shuffles_elsewhere_is_named():
    with defaults(device="meta"):
        loader = DataLoader(TensorDataset(POINTS), batch_size=8, shuffle=True)
        with pytest.raises(
            ValueError, match=r"the loader shuffles with a generator on cpu, and torch's default device"
        ):
            make(nn.Linear(3, 2, device="cpu"), nn.Linear(2, 1, device="cpu"), loader)


# -- settings --------------------------------------------------------------------------------------------------------


def test_numpy_scalars_are_numbers(tmp_path):
    config = TrainingConfig(
        latent_dim=np.int64(3), batch_size=np.int32(8), steps=np.uint8(2), generator_lr=np.float32(0.5),
        beta1=np.float64(0.25), conditional=np.bool_(False), penalty=np.int64(1), ema=np.float32(0), evaluate_every=0,
    )  # fmt: skip
    assert {type(value) for value in vars(config).values()} <= {int, float, bool, str, type(None)}
    assert config == TrainingConfig(
        latent_dim=3, batch_size=8, steps=2, generator_lr=0.5, beta1=0.25, penalty=1, ema=0.0, evaluate_every=0
    )
    Trainer(nn.Linear(3, 2), nn.Linear(2, 1), POINTS, config, out=tmp_path).run()
    assert load_checkpoint(tmp_path)["config"]["generator_lr"] == 0.5


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"seed": 2**63 - 1}, ValueError, "seed must be below 2.63 - 1, got 9223372036854775807"),
        ({"seed": 2**63}, ValueError, "seed must be below 2.63, got 9223372036854775808"),
        ({"latent_dim": 10**30}, ValueError, "latent_dim must be below 2.63, got 1000"),
        ({"generator_lr": 10**400}, ValueError, "generator_lr must be finite"),
        ({"generator_lr": np.float32("inf")}, ValueError, "generator_lr must be finite"),
        ({"steps": np.float32(2)}, TypeError, "steps must be a whole number"),
        ({"steps": True}, TypeError, "steps must be a number, got bool True"),
        ({"conditional": 1}, TypeError, "conditional must be True or False, got int 1"),
        ({"loss": None}, TypeError, "loss must be text, got NoneType None"),
        ({"width": "6"}, TypeError, "width must be a number, got str '6'"),
        ({"width": 1.5}, TypeError, "width must be a whole number, got 1.5"),
        ({"data": 3}, TypeError, "data must be text, got int 3"),
    ],
)
def test_values_of_settings_are_checked(options, error, text):
    with pytest.raises(error, match=text):
        training.RunConfig(**options)


def test_the_largest_seed_trains():
    build_trainer(settings("nsgan", "ring8?size=100", width=4, batch_size=8, seed=2**63 - 2)).step()


def test_the_meta_device_is_refused():
    with pytest.raises(ValueError, match="device 'meta' holds no numbers to train with"):
        make(device="meta")


# -- memory ----------------------------------------------------------------------------------------------------------


def test_networks_that_do_not_fit_are_refused_before_anything_is_written(tmp_path):
    for options in ({"width": 10**12}, {"width": 2**62}, {"latent_dim": 10**15}, {"discriminator_width": 10**9}):
        with pytest.raises(ValueError, match=r"does not fit into .* of memory .a tensor of .* numbers exceeds"):
            train(settings("nsgan", "ring8?size=100", **{"width": 6, "batch_size": 16, **options}), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_the_budget_counts_all_tensors():
    with MemoryBudget(4 * 1000):
        torch.empty(10, 50)
        torch.zeros((100, 4))
        with pytest.raises(MemoryError, match="a tensor of 101 numbers exceeds the 4 KiB for it"):
            torch.randn(101)
    torch.randn(10_000)


def test_the_limit_of_a_control_group_counts(tmp_path):
    groups = tmp_path / "sys" / "fs" / "cgroup" / "a"
    (groups / "b").mkdir(parents=True)
    (groups / "memory.max").write_text("1000000\n")
    (groups / "b" / "memory.max").write_text("max\n")
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "self" / "cgroup").write_text("0::/a/b\n")
    assert available_memory(tmp_path) == 1_000_000
    (tmp_path / "proc" / "self" / "cgroup").write_text("")
    assert available_memory(tmp_path) > 1_000_000
    assert [format_bytes(n) for n in (3, 2048, 3 * 2**20, 5 * 2**30)] == ["3 B", "2 KiB", "3 MiB", "5.0 GiB"]


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has ...\nmore"),
    MemoryError("Unable to allocate 72.8 TiB for an array"),
    MemoryError(),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: str(error)[:12])
def test_running_out_of_memory_is_one_line(monkeypatch, capsys, error):
    def fails(arguments):
        raise error

    monkeypatch.setitem(cli.COMMANDS, "train", fails)
    assert main(["train"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("ganops: out of memory: ")
    assert line.endswith("choose a smaller --batch-size, --width or --count, or smaller data")


def test_torchs_own_refusal_on_a_cpu_is_recognised():
    for allocate in (lambda: torch.empty(2**46), lambda: torch.empty(2**62)):
        with pytest.raises(RuntimeError) as refusal:
            allocate()
        assert is_out_of_memory(refusal.value)
    assert not is_out_of_memory(RuntimeError("something else"))


def test_more_samples_than_memory_are_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    train(settings("nsgan", "ring8?size=100", width=4, batch_size=16, steps=1), tmp_path / "run")
    for count in (10**12, 2**63, 10**30):
        assert main(["sample", "run", "--count", str(count), "--out", "x.npy"]) == 2
        assert "of memory" in capsys.readouterr().err
    assert not (tmp_path / "x.npy").exists()
