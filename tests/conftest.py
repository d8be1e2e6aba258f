"""What all tests share: markers, the device, quiet and repeatable hypothesis runs."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
import torch

from ops.scale import EXAMPLES

try:
    from hypothesis import HealthCheck, settings
except ModuleNotFoundError:  # its tests are skipped, see ops/properties.py
    pass
else:
    settings.register_profile(
        "ganops",
        deadline=None,
        derandomize=True,
        database=None,
        max_examples=EXAMPLES,
        suppress_health_check=[
            HealthCheck.too_slow,
            HealthCheck.function_scoped_fixture,
            HealthCheck.differing_executors,
        ],
    )
    settings.load_profile("ganops")


# A fault that the emulator of the CUDA kernels saw fails the test that ran them; nothing with another backend.
pytest_plugins = ["emulation.plugin"]


def pytest_configure(config: pytest.Config) -> None:
    # A shell starts background jobs with these signals ignored, and the processes that tests start inherit that.
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1:  # side by side: each with its share of the cores
        torch.set_num_threads(max(1, torch.get_num_threads() // workers))
        os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
    # Trained judges are kept between test runs, but not among the user's.
    if config.pluginmanager.hasplugin("cacheprovider"):
        os.environ["XDG_CACHE_HOME"] = str(config.cache.mkdir("home"))
    config.addinivalue_line("markers", "compile: goes through torch.compile, seconds each (skip with -m 'not compile')")
    config.addinivalue_line("markers", "large: needs several GB; runs where GANOPS_LARGE_TESTS=1 (make full)")
    config.addinivalue_line("markers", "full: takes minutes and rarely changes; runs where GANOPS_FULL=1 (make full)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for marker, variable in (("large", "GANOPS_LARGE_TESTS"), ("full", "GANOPS_FULL")):
        if os.environ.get(variable, "0") in ("", "0"):
            skip = pytest.mark.skip(reason=f"only in make full: set {variable}=1")
            for item in items:
                if marker in item.keywords:
                    item.add_marker(skip)


@pytest.fixture(params=["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.param)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def other_defaults() -> Iterator[None]:
    """Another default dtype and device; tensors on the meta device have no numbers, so any use of one fails."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            yield
    finally:
        torch.set_default_dtype(before)
