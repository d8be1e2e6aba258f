"""The drop-in table: with every repository's loss code exchanged, networks train along the same trajectory."""

from __future__ import annotations

import dataclasses
import importlib
import sys

import pytest
import torch

STEPS = 50


@pytest.fixture(scope="module")
def drop_in(request):
    folder = str(request.config.rootpath / "benchmarks")
    sys.path.insert(0, folder)
    yield importlib.import_module("drop_in")
    sys.path.remove(folder)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def names(config) -> list[str]:
    sys.path.insert(0, str(config.rootpath / "benchmarks"))
    rows = importlib.import_module("drop_in_rows").ROWS
    sys.path.pop(0)
    return [f"{row.repository}: {row.code}" for row in rows]


def pytest_generate_tests(metafunc):
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", names(metafunc.config))


def row_of(drop_in, name):
    (row,) = (row for row in drop_in.ROWS if f"{row.repository}: {row.code}" == name)
    return row


def test_trajectories_are_equal(drop_in, name):
    deviation, same_draws = drop_in.trajectories(row_of(drop_in, name), STEPS)
    assert deviation < 1e-12
    assert same_draws


@pytest.mark.parametrize("code", ["lsgan", "hinge, R1", "MPD, MSD: losses, features"])
def test_a_wrong_loss_is_seen(drop_in, code):
    """G's loss a thousandth larger, and the draws of one more number."""
    (row,) = (row for row in drop_in.ROWS if row.code == code)
    right = row.ours()

    class Wrong(drop_in.Side):
        def discriminator(self, D, real, fake):
            return right.discriminator(D, real, fake) + 1e-3 * D.parameters().__next__().square().sum()

        def generator(self, D, real, fake):
            torch.rand(1)
            return right.generator(D, real, fake)

    deviation, same_draws = drop_in.trajectories(dataclasses.replace(row, ours=Wrong), 5)
    assert deviation > 1e-6
    assert not same_draws


def test_the_table(drop_in, capsys, monkeypatch):
    monkeypatch.setattr(drop_in, "STEPS", 1)
    monkeypatch.setattr(drop_in, "SYSTEMS", {n: lambda large, s=s: s(False) for n, s in drop_in.SYSTEMS.items()})
    monkeypatch.setattr(sys, "argv", ["drop_in.py", "--only", "lsgan", "--rounds", "1"])
    drop_in.main()
    head, _, *rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 3
    assert all(row.count("|") == head.count("|") for row in rows)
    assert rows[0].startswith("| PyTorch-GAN | lsgan | 0 | −6 +2 | ")
