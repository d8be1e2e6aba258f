import dataclasses
import functools

import pytest
import torch
from threadpoolctl import threadpool_limits

from ganops import data


@pytest.fixture(autouse=True, scope="session")
def _data_is_loaded_once():
    """Reading MNIST takes seconds; the tests load it often. A data set is never changed once it is made."""
    for name, source in data.SOURCES.items():
        data.SOURCES[name] = dataclasses.replace(source, load=functools.cache(source.load))


@pytest.fixture(autouse=True)
def _one_thread():
    """The networks here are tiny: on a busy machine, threads would spend their time waiting for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield
    torch.set_num_threads(before)
