"""The benchmark of one op family: ``ganops bench --op clip_weights``. Cases: ganops/bench/cases/clip_weights.py."""

import sys

from ganops.bench import main

if __name__ == "__main__":
    raise SystemExit(main(["--op", "clip_weights", *sys.argv[1:]]))
