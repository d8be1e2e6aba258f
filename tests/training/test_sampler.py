"""The global order of streamed data."""

import itertools

import pytest

from ganops.training.sampler import BatchSampler


def take(count, *arguments, **options):
    return list(itertools.islice(BatchSampler(*arguments, **options), count))


def test_every_epoch_has_each_sample_once_and_its_own_order():
    epochs = [take(5, 10, 2, 0, epoch=epoch) for epoch in range(3)]
    orders = [[index for batch in epoch for index, _ in batch] for epoch in epochs]
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert orders[0] != orders[1] != orders[2]
    assert take(15, 10, 2, 0) == [batch for epoch in epochs for batch in epoch]
    assert take(5, 10, 2, 1) != epochs[0]  # another seed


def test_an_incomplete_batch_is_left_out():
    batches = take(6, 10, 4, 0)
    assert all(len(batch) == 4 for batch in batches)
    assert batches[2:4] == take(2, 10, 4, 0, epoch=1)


def test_the_number_of_a_sample_depends_on_seed_epoch_and_index_alone():
    numbers = [dict(itertools.chain(*take(10 // size, 10, size, 7, epoch=3))) for size in (1, 2, 5, 10)]
    assert all(each == numbers[0] for each in numbers)
    assert len(set(numbers[0].values())) == 10
    assert all(0 <= number < 2**63 for number in numbers[0].values())
    other = dict(itertools.chain(*take(10, 10, 1, 7, epoch=4)))
    assert not set(other.values()) & set(numbers[0].values())


@pytest.mark.parametrize("world_size", [1, 2, 3, 6])
def test_processes_take_contiguous_parts_of_the_same_batches(world_size):
    whole = take(9, 20, 6, 3, epoch=2, used=6)
    parts = [take(9, 20, 6, 3, epoch=2, used=6, rank=rank, world_size=world_size) for rank in range(world_size)]
    assert [list(itertools.chain(*batch)) for batch in zip(*parts, strict=True)] == whole


def test_a_position_is_reached_without_what_is_before_it():
    whole = take(12, 10, 4, 0)
    assert take(11, 10, 4, 0, used=4) == whole[1:]
    assert take(9, 10, 4, 0, epoch=1, used=4) == whole[3:]
    assert take(2, 10, 4, 0, epoch=1, used=9) == whole[4:6]  # of data that have become fewer


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"batch_size": 11}, "batch_size must be at most the 10 samples of the data, got 11"),
        ({"batch_size": 4, "world_size": 3}, "batch_size must be divisible by the 3 processes, got 4"),
        ({"batch_size": 4, "world_size": 2, "rank": 2}, r"rank must lie in \[0, 2\), got 2"),
    ],
)
def test_wrong_arguments_are_named(options, text):
    with pytest.raises(ValueError, match=text):
        BatchSampler(10, seed=0, **options)
