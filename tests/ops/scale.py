"""The one place that says how large the tests of the ops are, because emulated kernels are a thousand times slower."""

import ganops

EMULATED = ganops.build_info()["backend"] == "emulated"

# Around the widths of a vector access and of a warp, and the 4096 elements of a CPU chunk or a CUDA tile.
SIZES = (1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 127, 257, 1031, 2049, 4095, 4096, 4097, 8195)
if EMULATED:
    SIZES = (1, 2, 3, 7, 8, 15, 16, 17, 33, 257, 1031, 2049, 4097, 8195)

# (samples, elements of a sample): many to a chunk, one chunk, several chunks each.
BATCHES = ((1, 1), (5, 1), (3, 7), (2, 17), (7, 33), (1, 257), (33, 3), (2, 1031), (1031, 2), (3, 4095), (2, 4097))

# What is divided among threads: one long row, long samples, short samples. For the cases that differ in more than a
# formula.
LARGE_SIZES = (20_001,) if EMULATED else (70_001,)
LARGE_BATCHES = ((2, 8195),) if EMULATED else ((2, 8195), (1, 70_001), (20_001, 2), (40, 1000))

# Enough elements for several threads.
THREADED = 20_001 if EMULATED else 100_003

# Of a property.
EXAMPLES = 8 if EMULATED else 40
