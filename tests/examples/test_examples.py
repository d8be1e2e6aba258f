"""The examples run as they stand: as a user would run them, for a few steps."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name, *arguments, cwd):
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},  # tiny networks: threads would wait for each other
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_short_and_tested():
    scripts = {path.name: len(path.read_text().splitlines()) for path in EXAMPLES.glob("*.py")}
    assert scripts.keys() == {"wgan_gp_drop_in.py", "hinge_gan.py", "benchmark_your_critic.py"}
    assert max(scripts.values()) < 100, scripts


def test_wgan_gp_drop_in(tmp_path):
    output = run("wgan_gp_drop_in.py", "--steps", "10", cwd=tmp_path)
    assert len(re.findall(r"penalty \d", output)) == 10
    assert re.search(r"of 8 modes$", output.strip())


def test_hinge_gan(tmp_path):
    output = run("hinge_gan.py", "--steps", "10", "--out", "d.png", cwd=tmp_path)
    assert "step    10" in output
    assert (tmp_path / "d.png").read_bytes().startswith(b"\x89PNG")


def test_benchmark_your_critic_compares_equals(tmp_path):
    output = run("benchmark_your_critic.py", "--steps", "2", "--batch-size", "4", cwd=tmp_path)
    assert re.search(r"ganops takes \d+\.\d+ of the eager time", output)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_benchmarked_losses_are_the_same_loss(seed):
    import runpy

    import torch

    example = runpy.run_path(str(EXAMPLES / "benchmark_your_critic.py"))
    torch.manual_seed(seed)
    network = example["critic"]()
    real, fake = torch.rand(2, 4, *example["SHAPE"]) * 2 - 1
    results = []
    for loss in (example["eager_loss"], example["ganops_loss"]):
        torch.manual_seed(7)  # the same interpolation weights for both
        network.zero_grad()
        value = loss(network, real, fake)
        value.backward()
        results.append((value.detach(), [p.grad.clone() for p in network.parameters()]))
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)
