"""What ``import ganops`` loads, and what it can do without."""

import subprocess
import sys

import pytest

import ganops

MODULES = ("theory", "models", "data", "metrics", "training", "figures", "bench")  # none is imported by one before it
EXTRAS = ("PIL", "fontTools", "matplotlib", "mlxtend", "numpy", "scipy", "sklearn", "tqdm", "tyro")


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_importing_loads_neither_the_trainer_nor_any_package_but_torch():
    code = f"""
import sys, torch
before = set(sys.modules)
import ganops
loaded = set(sys.modules) - before
assert not {{name.partition(".")[0] for name in loaded}} & set({EXTRAS}), loaded
for name in {MODULES}:
    assert f"ganops.{{name}}" not in sys.modules, name
    assert getattr(ganops, name) is sys.modules[f"ganops.{{name}}"]
"""
    done = run(code)
    assert done.returncode == 0, done.stderr


def test_modules_are_listed_and_others_are_not_there():
    assert set(MODULES) <= set(dir(ganops))
    assert "discriminator_loss" in dir(ganops)
    with pytest.raises(AttributeError, match="module 'ganops' has no attribute 'figure'"):
        ganops.figure  # noqa: B018
    assert not hasattr(ganops, "_data")


def test_without_the_extras_ops_theory_and_models_work_and_the_rest_names_the_command():
    code = f"""
import sys
sys.modules.update(dict.fromkeys({EXTRAS}))
import torch, ganops
logits = torch.randn(4, requires_grad=True)
ganops.discriminator_loss(logits, logits, "hinge").backward()
ganops.gradient_penalty(torch.nn.Linear(3, 1), torch.randn(4, 3), torch.randn(4, 3)).backward()
ganops.nn, ganops.optimizers, ganops.reference, ganops.theory
ganops.models.build("mlp", (2,), latent_dim=2)
for name in ("data", "figures", "metrics", "training"):
    try:
        getattr(ganops, name)
        print(name, "was imported")
    except ModuleNotFoundError as error:
        assert 'pip install "ganops[train]"' in str(error), error
"""
    done = run(code)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
