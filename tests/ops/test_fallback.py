"""Which path a call takes, and what is said where it is not the fused one. Each in a fresh interpreter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor

import ganops
from ganops import _library

from .scale import EMULATED

pytestmark = pytest.mark.skipif(EMULATED, reason="of the compiled library")

# The package without its libraries, as after an installation whose build was skipped.
WITHOUT_LIBRARY = """
import pathlib, shutil, sys
source, target = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]) / "ganops"
shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
sys.path.insert(0, str(target.parent))
"""
CALLS = """
import warnings, torch, ganops
real, fake = torch.randn(4, 3), torch.randn(4, 3)
def everything():
    weights = [torch.randn(3) * 9]
    ganops.discriminator_loss(real, fake); ganops.generator_loss(fake); ganops.interpolate(real, fake)
    ganops.gradient_norm_penalty(real); ganops.gradient_penalty(torch.nn.Linear(3, 1), real, fake)
    ganops.clip_weights_(weights, 0.5)
    assert weights[0].abs().max() <= 0.5
"""


def _run(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GANOPS_")}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        cwd="/",
    )


def _output(code: str, *arguments: str, **environment: str) -> str:
    result = _run(code, *arguments, **environment)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_reference_on_request_is_silent():
    """Even where falling back is an error: it was asked for."""
    code = (
        CALLS
        + """
warnings.simplefilter("error")
everything()
info = ganops.build_info()
assert info["backend"] == "reference" and not info["cpu"]["used"], info
logits = torch.randn(3, requires_grad=True)
print(type(ganops.generator_loss(logits, "hinge").grad_fn).__name__)
"""
    )
    assert "Loss" not in _output(code, GANOPS_BACKEND="reference", GANOPS_STRICT="1"), "torch's own operations"
    logits = torch.randn(3, requires_grad=True)
    assert "_Loss" in type(ganops.generator_loss(logits, "hinge").grad_fn).__name__


def test_without_a_library_one_warning_with_cause_and_command(tmp_path):
    code = (
        WITHOUT_LIBRARY
        + CALLS
        + """
import json
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    everything(); everything()
found = [w for w in caught if issubclass(w.category, ganops.FallbackWarning)]
texts = [str(w.message) for w in found]
print(json.dumps({"file": ganops.__file__, "caller": found[0].filename, "texts": texts, "info": ganops.build_info()}))
"""
    )
    found = json.loads(_output(code, str(Path(ganops.__file__).parent), str(tmp_path)))
    assert found["file"].startswith(str(tmp_path))
    assert found["caller"] == "<string>", "the warning points at the caller's line"
    (text,) = found["texts"]
    assert "discriminator_loss: runs the slower reference in plain PyTorch" in text
    assert "libganops_cpu.so was not built" in text
    assert "pip install" in text
    cpu = found["info"]["cpu"]
    assert not cpu["used"]
    assert cpu["problem"].startswith("libganops_cpu.so was not built")
    assert cpu["instruction_set"] is None
    assert not found["info"]["cuda"]["used"]


def test_sources_that_hide_an_installed_ganops_are_named(tmp_path):
    """As after `pip install ganops` in a folder with a clone of the repository, where the clone is imported."""
    site = tmp_path / "site"
    (site / "ganops").mkdir(parents=True)
    (site / "ganops-0.1.0.dist-info").mkdir()
    (site / "ganops-0.1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: ganops\nVersion: 0.1.0\n")
    code = (
        WITHOUT_LIBRARY + f"sys.path.append({str(site)!r})\nimport ganops; print(ganops.build_info()['cpu']['problem'])"
    )
    problem = _output(code, str(Path(ganops.__file__).parent), str(tmp_path / "clone"), PYTHONPATH="").strip()
    assert f"not built in {tmp_path / 'clone' / 'ganops'}, from where ganops was imported" in problem
    assert f"another ganops is installed in {site / 'ganops'}" in problem


def test_without_a_library_strict_is_an_error(tmp_path):
    code = WITHOUT_LIBRARY + CALLS + "everything()"
    result = _run(code, str(Path(ganops.__file__).parent), str(tmp_path), GANOPS_STRICT="1")
    assert result.returncode == 1
    assert "RuntimeError: discriminator_loss: runs the slower reference" in result.stderr
    assert "GANOPS_STRICT is set" in result.stderr


def test_a_broken_library_is_a_cause_too(tmp_path):
    code = (
        WITHOUT_LIBRARY
        + """
(target / "lib").mkdir(exist_ok=True)
(target / "lib" / "libganops_cpu.so").write_bytes(b"not a library")
import warnings, torch
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import ganops
    assert not caught, "importing says nothing"
    ganops.generator_loss(torch.randn(3))
print(caught[0].message)
"""
    )
    text = _output(code, str(Path(ganops.__file__).parent), str(tmp_path))
    assert "libganops_cpu.so does not load" in text
    assert "pip install" in text


def test_without_what_torch_does_not_promise():
    """Kernels all the same, by the public ways."""
    code = """
import torch
inside, hidden = torch._C, {"_are_functorch_transforms_active", "_functorch"}
class Without:
    def __getattr__(self, name):
        if name in hidden:
            raise AttributeError(name)
        return getattr(inside, name)
torch._C = Without()
import ganops
torch._C = inside
real, fake = (torch.randn(4, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
def gradients(module, above):
    loss = module.discriminator_loss(real, fake) + module.gradient_norm_penalty(real + fake)
    first = torch.autograd.grad(loss, (real, fake), above, create_graph=True)
    return loss, *first, *torch.autograd.grad(sum(g.square().sum() for g in first), (real, fake))
for above in (torch.tensor(1.0, dtype=torch.float64), torch.tensor(3.0, dtype=torch.float64)):
    torch.testing.assert_close(gradients(ganops, above), gradients(ganops.reference, above))
print(type(ganops.generator_loss(fake).grad_fn).__name__)
print(torch.func.grad(lambda x: ganops.generator_loss(x))(fake.detach()).shape)
"""
    assert "_Loss" in _output(code, GANOPS_STRICT="1")


def test_an_unknown_backend():
    result = _run("import ganops", GANOPS_BACKEND="fast")
    assert result.returncode == 1
    assert "GANOPS_BACKEND must be one of compiled, reference, emulated, got 'fast'" in result.stderr


# The sums of every op and their gradients, as numbers to compare between instruction sets.
NUMBERS = """
import json, torch, ganops
torch.manual_seed(0)
found = {"isa": ganops.build_info()["cpu"]["instruction_set"]}
for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
    real, fake = (torch.randn(5, 1003, dtype=torch.float64).mul(3).to(dtype).requires_grad_() for _ in range(2))
    weight = torch.linspace(0, 1, 5)
    kinds = ("minimax", "mle", "least_squares", "hinge", "wasserstein")
    values = [ganops.discriminator_loss(real, fake, kind) for kind in kinds]
    values += [ganops.generator_loss(fake / 2, kind) for kind in kinds]
    values += [ganops.interpolate(real, fake, weight).float().square().mean(), ganops.gradient_norm_penalty(real / 30)]
    clipped = real.detach().clone(); ganops.clip_weights_(clipped, 0.5); values.append(clipped.float().sum())
    gradients = torch.autograd.grad(sum(v.float() for v in values if v.requires_grad), (real, fake))
    found[str(dtype)] = [v.item() for v in values] + [g.float().abs().sum().item() for g in gradients]
print(json.dumps(found))
"""


def test_instruction_sets_agree():
    """Every copy of the kernels that this machine can run gives the same numbers to rounding."""
    found = {name: json.loads(_output(NUMBERS, GANOPS_CPU_ISA=name)) for name in ("baseline", "avx2", "")}
    assert found["baseline"].pop("isa") == "baseline"
    assert found["avx2"].pop("isa") in ("avx2", "baseline")
    found[""].pop("isa")
    for other in ("avx2", ""):
        for dtype, numbers in found[other].items():
            eps = torch.finfo(getattr(torch, dtype.removeprefix("torch."))).eps
            assert numbers == pytest.approx(found["baseline"][dtype], rel=8 * eps, abs=8 * eps), (other, dtype)


# A checksum of what every op that can write past the caches writes: odd rows, rows longer than a buffer, both layouts.
RESULTS = """
import hashlib, json, torch, ganops
torch.manual_seed(0)
found = []
def note(*tensors):
    flat = (t.detach().contiguous().flatten().view(torch.uint8) for t in tensors)
    found.extend(hashlib.sha256(t.numpy()).hexdigest() for t in flat)
def both_ways(y, *inputs):
    note(y, *torch.autograd.grad(y, inputs, torch.randn(y.shape).to(y)))
for dtype in (torch.float16, torch.float32, torch.float64):
    for shape in ((5, 3, 41, 37), (2, 3, 5, 3001), (8, 16, 16, 16)):
        for layout in (torch.contiguous_format, torch.channels_last):
            real, fake = (torch.randn(shape).to(dtype, memory_format=layout).requires_grad_() for _ in range(2))
            both_ways(ganops.interpolate(real, fake, torch.linspace(0, 1, shape[0])), real, fake)
            both_ways(torch.stack(ganops.discriminator_loss(real, fake, "hinge", reduction="none")), real, fake)
            both_ways(ganops.feature_matching_loss([real], [fake], detach_real=False), real, fake)
            for policy in ("translation,cutout", "color,translation,cutout"):
                both_ways(ganops.diff_augment(real, policy, parameters=torch.rand(shape[0], 7)), real)
            both_ways(ganops.minibatch_stddev(real, shape[0]), real)
            both_ways(ganops.upsample2d(real, ganops.setup_filter([1, 3, 3, 1]).to(dtype)), real)
            both_ways(ganops.downsample2d(real, ganops.setup_filter([1, 3, 3, 1]).to(dtype)), real)
print(json.dumps(found))
"""


def test_results_do_not_depend_on_the_size_of_the_cache():
    past, inside = (json.loads(_output(RESULTS, GANOPS_CPU_CACHE=size)) for size in ("0", str(1 << 40)))
    assert len(inside) > 200
    assert past == inside


# --------------------------------------------------------------------------------------------- in this interpreter


@pytest.fixture
def forgetful(monkeypatch):
    """As if nothing had been warned of yet."""
    monkeypatch.setattr(_library, "_warned", set())


@pytest.mark.parametrize("dtype", [torch.float8_e5m2, torch.float8_e4m3fn])
def test_an_exotic_dtype_is_refused(dtype):
    """torch has hardly an operation of float8, so that the reference has none either."""
    x = torch.tensor([[3.0, 4.0]]).to(dtype)
    for function in (ganops.generator_loss, ganops.gradient_norm_penalty):
        with pytest.raises(TypeError, match=rf"must be float16, bfloat16, float32 or float64, got {dtype}"):
            function(x)


class First(Tensor):
    """A subclass that means nothing to torch."""


class Second(Tensor):
    """Another one."""


@pytest.mark.usefixtures("forgetful")
def test_once_per_cause_and_not_once_per_function():
    a, b = (torch.tensor([[3.0, 4.0]]).as_subclass(kind) for kind in (First, Second))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for gradient in (a, a, b, b, a):
            ganops.gradient_norm_penalty(gradient)
    assert len(caught) == 2, "one for each subclass"


@pytest.mark.usefixtures("forgetful")
def test_strict(monkeypatch):
    monkeypatch.setenv("GANOPS_STRICT", "1")
    gradient = torch.tensor([[3.0, 4.0]]).as_subclass(First)
    with pytest.raises(RuntimeError, match=r"gradient_norm_penalty: .*First \(GANOPS_STRICT is set\)"):
        ganops.gradient_norm_penalty(gradient)
    for off in ("", "0"):
        monkeypatch.setenv("GANOPS_STRICT", off)
        _library._warned.clear()
        with pytest.warns(ganops.FallbackWarning):
            ganops.gradient_norm_penalty(gradient)


@pytest.mark.usefixtures("forgetful")
def test_a_device_without_kernels(monkeypatch):
    """Every device but cpu and cuda; here the CPU plays one, since torch has no other at hand."""
    monkeypatch.setattr(_library, "_DEVICES", frozenset({"cuda"}))
    monkeypatch.setattr(_library._cpu, "problem", "libganops_cpu.so was not built")
    x = torch.randn(4, 3)
    with pytest.warns(ganops.FallbackWarning, match=r"libganops_cpu.so was not built; rebuild: .*pip install"):
        value = ganops.generator_loss(x, "hinge")
    torch.testing.assert_close(value, -x.mean())


@pytest.mark.usefixtures("forgetful")
@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_why_a_cuda_tensor_has_no_kernel():
    """The text alone: there is no CUDA tensor to be had."""

    class Elsewhere:
        device, dtype, layout = torch.device("cuda"), torch.float32, torch.strided
        is_cpu = is_nested = False

        def is_floating_point(self) -> bool:
            return True

    with pytest.warns(ganops.FallbackWarning, match=r"generator_loss: .*(has no CUDA|was not built).*GANOPS_CUDA=1"):
        assert not _library.has_kernel("generator_loss", Elsewhere())


class Versions:
    """A CUDA library as far as its versions go."""

    def __init__(self, runtime: int, driver: int) -> None:
        self.ganops_cuda_runtime_version = lambda: runtime
        self.ganops_cuda_driver_version = lambda: driver


@pytest.mark.parametrize(
    ("runtime", "driver"),
    [(13000, 13000), (13010, 13000), (12080, 13000), (13000, 0)],
    ids=lambda version: f"{version}",
)
def test_a_driver_that_runs_the_library(runtime, driver):
    assert _library._driver_problem(Versions(runtime, driver)) is None


def test_a_driver_that_is_too_old():
    problem = _library._driver_problem(Versions(13000, 12080))
    assert "contains the runtime of CUDA 13, which needs driver 580 or newer" in problem
    assert "this machine's driver supports CUDA 12.8 at most; update the driver or build with CUDA 12" in problem
    assert "which needs a newer driver, but" in _library._driver_problem(Versions(15000, 13000))
    assert _library._driver_problem(object()) == "libganops_cuda.so is older than these sources"


def test_build_info():
    info = ganops.build_info()
    assert set(info) >= {"version", "torch", "backend", "stable_abi", "cpu", "cuda"}
    assert set(info["cpu"]) == {"used", "problem", "library", "instruction_set", "compiler", "threads", "machine"}
    assert set(info["cuda"]) == {"used", "problem", "library", "architectures", "device"}
    assert info["version"] == ganops.__version__
    assert info["torch"] == torch.__version__
    assert info["backend"] == "compiled"
    assert info["cpu"]["used"]
    assert info["cpu"]["problem"] is None
    assert info["cpu"]["instruction_set"] in ("baseline", "avx2", "avx512")
    assert Path(info["cpu"]["library"]).exists()
    assert json.loads(json.dumps(info)) == info, "plain values"


def test_a_torch_without_its_private_names():
    """Some are gone in each release. Normalisation is then known by its public classes."""
    code = (
        """
import sys, torch
del torch.nn.modules.batchnorm._NormBase, torch.compiler.is_dynamo_compiling
del sys.modules["torch.optim.optimizer"]._use_grad_for_differentiable
"""
        + CALLS
        + """
everything()
critic = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3), torch.nn.InstanceNorm2d(3, affine=True))
ganops.clip_weights_(critic, 0.01)
print([p.abs().max().item() > 0.5 for p in (critic[0].weight, critic[1].weight, critic[2].weight)])
optimizer = ganops.optimizers.Adam(critic.parameters(), clip=0.5)
critic[0].weight.grad = torch.ones(3, 3)
optimizer.step()
"""
    )
    assert _output(code).strip() == "[False, True, True]"


def test_importing_needs_torch_alone():
    """No plotting, no data libraries, nothing compiled."""
    code = """
import sys
import torch
before = set(sys.modules)
import ganops
new = {name.partition(".")[0] for name in set(sys.modules) - before}
for heavy in ("matplotlib", "sklearn", "mlxtend", "tyro", "tqdm", "PIL", "pandas", "scipy"):
    assert heavy not in new, heavy
"""
    _output(code)
