"""Whose files are in a run's folder, and who uses it: nothing of others is replaced, nothing of ours is lost."""

import contextlib
import errno
import functools
import io
import json
import os
import signal
import stat
import subprocess
import sys

import pytest
import torch
from torch import nn

from ganops import _files
from ganops._files import FolderInUseError, write_atomically
from ganops.cli import main
from ganops.training import (
    Trainer,
    TrainingConfig,
    TrainingInterrupted,
    load_checkpoint,
    report,
    settings,
    train,
)
from ganops.training.folder import RUN_FILES, RunFolder
from ganops.training.progress import Progress

SMALL = {"width": 6, "batch_size": 16, "evaluate_every": 0, "monitor_every": 0, "steps": 2}


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch):
    monkeypatch.setattr(report, "write_curves", lambda *_: None)
    monkeypatch.setattr(report, "write_samples", lambda *_: None)


def config(**options):
    return settings("nsgan", "ring8?size=500", **{**SMALL, **options})


def trainer(out, **options):
    options = {"latent_dim": 3, "batch_size": 4, "steps": 2, "ema": 0.0, **options}
    return Trainer(nn.Linear(3, 2), nn.Linear(2, 1), torch.randn(8, 2), TrainingConfig(**options), out=out)


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", RUN_FILES)
@pytest.mark.parametrize("overwrite", [False, True])
def test_files_of_others_are_never_replaced(tmp_path, name, overwrite):
    (tmp_path / name).write_bytes(b"of another program")
    with pytest.raises(ValueError, match=rf"did not write \({name}\)"):
        train(config(), tmp_path, overwrite=overwrite)
    for use in (Trainer.run, Trainer.save):
        with pytest.raises(ValueError, match=rf"did not write \({name}\)"):
            use(trainer(tmp_path))
    assert content(tmp_path)[name] == b"of another program"
    assert content(tmp_path).keys() == {name}


def test_files_of_others_that_are_not_in_the_way_stay(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    train(config(), tmp_path)
    train(config(), tmp_path, overwrite=True)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_file_that_a_later_version_writes_is_not_taken_from_its_owner(tmp_path):
    """The mark lists the names that were free; a name that is new to the folder is looked at anew."""
    train(config(), tmp_path)
    mark = json.loads((tmp_path / ".ganops-run").read_text())
    mark["files"].remove("monitor.csv")
    (tmp_path / ".ganops-run").write_text(json.dumps(mark))
    (tmp_path / "monitor.csv").write_text("mine")
    with pytest.raises(ValueError, match=r"did not write \(monitor\.csv\)"):
        train(config(steps=3), tmp_path, resume=True)


def test_a_run_older_than_the_mark_is_continued(tmp_path):
    train(config(), tmp_path)
    (tmp_path / ".ganops-run").unlink()
    assert train(config(steps=3), tmp_path, resume=True)["step"] == 3
    assert RunFolder(tmp_path).marked() == {*RUN_FILES, "tensorboard"}
    (tmp_path / ".ganops-run").unlink()
    (tmp_path / "config.json").write_text('{"of": "another program"}')
    with pytest.raises(ValueError, match=r"did not write .*config\.json"):
        train(config(), tmp_path, overwrite=True)


@pytest.mark.parametrize("name", ["config.json", "checkpoint.pt", "history.csv"])
def test_a_folder_in_the_place_of_a_file_is_found_before_anything_is_deleted(tmp_path, name):
    train(config(), tmp_path)
    (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / name).mkdir()
    before = {path.name for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=rf"did not write \({name}\)"):
        train(config(), tmp_path, overwrite=True)
    assert {path.name for path in tmp_path.iterdir()} == before


def test_a_full_disk_does_not_keep_a_folder_from_being_locked(tmp_path, monkeypatch):
    """The owner's name is lost, and the error names the first file that does not fit."""

    class Full(io.FileIO):
        def write(self, _):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(_files.Path, "open", lambda path, mode, **_: Full(path, mode.replace("b", "")))
    lock = functools.partial(_files.lock_folder, tmp_path, "lock")
    with lock(), pytest.raises(FolderInUseError, match="another process"), lock():
        pass


@pytest.mark.parametrize("out", ["", "  "])
def test_an_empty_out_is_not_the_working_directory(tmp_path, monkeypatch, capsys, out):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="out is empty"):
        train(config(), out)
    with pytest.raises(ValueError, match="out is empty"):
        trainer(out)
    assert main(["train", "nsgan", "--data", "ring8?size=500", "--out", out]) == 2
    assert main(["train", "nsgan", "--data", "ring8?size=500", f"--out={out}"]) == 2
    assert main(["card", "pacgan-ring-short", "--out", out]) == 2
    assert main(["sample", out]) == 2
    assert capsys.readouterr().err.count("is empty (an unset variable?)") == 4
    assert list(tmp_path.iterdir()) == []


def test_two_runs_in_one_folder(tmp_path):
    first, second = trainer(tmp_path), trainer(tmp_path)
    seen = []

    @first.on_step
    def _(*_):
        with pytest.raises(ValueError, match=rf"is in use by process {os.getpid()} on .*wait for it to end"):
            second.run()
        with pytest.raises(ValueError, match="is in use"):
            train(config(), tmp_path)
        seen.append(content(tmp_path).keys())

    first.run()
    assert seen[0] == {".ganops-run", ".ganops-lock", "config.json"}
    second.run()


SCRIPT = """
import sys, torch
from torch import nn
from ganops.training import Trainer, TrainingConfig
config = TrainingConfig(latent_dim=3, batch_size=4, steps=10**6, ema=0.0, checkpoint_every=1, evaluate_every=0)
trainer = Trainer(nn.Linear(3, 2), nn.Linear(2, 1), torch.randn(8, 2), config, out=sys.argv[1])
trainer.on_step(lambda trainer, losses: print("step", flush=True) if trainer.step_count == 2 else None)
trainer.run()
"""


@pytest.fixture
def running(tmp_path):
    """A run in a process of its own, behind its second step."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "step\n", process.stderr.read()
    yield process
    process.kill()
    process.communicate()


def test_a_killed_process_releases_its_lock_and_its_temporary_files_are_removed(tmp_path, running):
    with pytest.raises(ValueError, match=f"is in use by process {running.pid}"):
        trainer(tmp_path).run()
    running.kill()
    running.wait()
    stale = tmp_path / ".checkpoint.pt.abcd1234.part"  # as a kill in the middle of a write leaves it
    stale.write_bytes(b"half")
    others = tmp_path / ".theirs.abcd1234.part"
    others.write_bytes(b"half")
    trainer(tmp_path).run()
    assert not stale.exists()
    assert others.exists()


def test_a_closed_terminal_saves_the_run(tmp_path, running):
    running.send_signal(signal.SIGHUP)
    running.stderr.close()  # what is written now fails, as on a terminal that is gone
    assert running.wait(60) != 0
    assert json.loads((tmp_path / "metrics.json").read_text())["status"] == "interrupted"
    assert load_checkpoint(tmp_path)["step"] >= 2


def test_an_ignored_signal_stays_ignored(tmp_path):
    """As SIGHUP is under nohup, and SIGINT in the background of a script."""
    run = trainer(tmp_path)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        run.on_step(lambda *_: signal.raise_signal(signal.SIGHUP))
        with contextlib.suppress(TrainingInterrupted):  # it would end the tests
            run.run()
        assert json.loads((tmp_path / "metrics.json").read_text())["status"] == "finished"
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


class Broken(io.StringIO):
    def __init__(self, terminal):
        super().__init__()
        self.terminal = terminal

    def isatty(self):
        return self.terminal

    def write(self, _):
        raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize("terminal", [True, False])
def test_a_broken_terminal_ends_the_display_and_not_the_run(tmp_path, monkeypatch, terminal):
    monkeypatch.setattr(sys, "stderr", Broken(terminal))
    assert trainer(tmp_path, log_every=1).run()["status"] == "finished"
    with Progress(0, 3) as progress:
        for step in (1, 2):
            progress.show(step, {"generator_loss": 1.0})
            progress.say("a line")


def test_a_damaged_best_state_is_set_aside(tmp_path):
    train(config(evaluate_every=1), tmp_path)
    (tmp_path / "best.pt").write_bytes(b"x" * 100)
    with pytest.warns(UserWarning, match=r"best\.pt is damaged and was renamed to best\.pt\.damaged"):
        summary = train(config(evaluate_every=1, steps=4), tmp_path, resume=True)
    assert summary["best"]["step"] > 2
    assert (tmp_path / "best.pt.damaged").read_bytes() == b"x" * 100
    assert load_checkpoint(tmp_path / "best.pt")["best"] == summary["best"]


def test_torchrun_of_several_processes_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="2 processes were started by torchrun"):
        train(config(), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert train(config(), tmp_path / "run")["status"] == "finished"


# -- single files ----------------------------------------------------------------------------------------------------


def test_a_rename_reaches_the_disk(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(_files.os, "fsync", lambda handle: synced.append(stat.S_ISDIR(os.fstat(handle).st_mode)))
    write_atomically(tmp_path / "x", lambda file: file.write(b"1"))
    assert synced == [False, True]


def test_a_link_is_followed_and_what_is_no_file_is_refused(tmp_path):
    (tmp_path / "target").write_bytes(b"old")
    (tmp_path / "link").symlink_to("target")
    write_atomically(tmp_path / "link", lambda file: file.write(b"new"))
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"new"
    os.mkfifo(tmp_path / "pipe")
    for name, what in (("pipe", "no regular file"), (".", "a folder")):
        with pytest.raises(ValueError, match=f"cannot be written: it is {what}"):
            write_atomically(tmp_path / name, lambda file: file.write(b"new"))
    assert (tmp_path / "pipe").is_fifo()


def test_commands_replace_files_only_when_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    train(config(), tmp_path / "run")
    for command in (["sample", "run", "--out", "x.npy"], ["evaluate", "run", "--out", "x.json"]):
        file = tmp_path / command[-1]
        file.write_text("mine")
        assert main(command) == 2
        assert "already exists; add --overwrite" in capsys.readouterr().err
        assert file.read_text() == "mine"
        assert main([*command, "--overwrite"]) == 0
        assert file.read_bytes() != b"mine"
    assert main(["sample", "run", "--out", "run/checkpoint.npy"]) == 0
    before = (tmp_path / "run" / "checkpoint.pt").read_bytes()
    assert main(["evaluate", "run/checkpoint.pt"]) == main(["evaluate", "run/checkpoint.pt"]) == 0  # its own file
    assert (tmp_path / "run" / "checkpoint.pt").read_bytes() == before
