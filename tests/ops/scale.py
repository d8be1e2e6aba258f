"""The one place that says how large the tests of the ops are, because emulated kernels are a thousand times slower."""

import ganops

EMULATED = ganops.build_info()["backend"] == "emulated"

# Around the widths of a vector access and of a warp, the 4096 elements of a CPU chunk, and what goes to many threads.
SIZES = (1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 127, 257, 1031) + (
    (2049, 4097, 8195) if EMULATED else (4095, 4096, 4097, 8195, 70_001)
)

# (samples, elements of a sample): many to a chunk, one chunk and several chunks each, one sample over many threads.
BATCHES = ((1, 1), (5, 1), (3, 7), (2, 17), (7, 33), (1, 257), (33, 3)) + (
    ((2, 1031), (2, 4097), (1031, 2))
    if EMULATED
    else ((3, 4095), (2, 4097), (2, 8195), (1, 70_001), (20_001, 2), (40, 1000))
)

# Enough elements for several threads.
THREADED = 20_001 if EMULATED else 100_003

# Of a property.
EXAMPLES = 8 if EMULATED else 40
