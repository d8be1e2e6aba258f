"""The short form of the attacks in this folder; their long form is run by themselves."""

from attacks import arguments, checkpoints, command_line


def test_damaged_checkpoints_are_refused_or_harmless():
    counts, failures = checkpoints.attack(25, seed=1)
    assert failures == []
    assert counts["damaged"]["refused"] > 10
    assert counts["malformed"]["refused"] > 15


def test_odd_arguments_are_computed_with_or_refused():
    counts, failures = arguments.attack(every=23)
    assert failures == []
    assert counts["same"] > 40
    assert counts["clear"] > 300


def test_mistakes_on_the_command_line_are_one_line():
    counts, failures = command_line.attack(every=50)
    assert failures == []
    assert counts["clear"] > 8
