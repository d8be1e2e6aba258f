"""Benchmarks: each op against the formula in popular use, the best eager form and ``torch.compile``.

``ganops bench`` runs them; :func:`main` is that command. A case file in ``ganops/bench/cases`` per op family lists what
is measured; how it is measured is in ``measure``, what a figure means in ``benchmarks/README.md``.
"""

from ganops.bench.command import main

__all__ = ["main"]
