"""The benchmark of one op family: ``ganops bench --op interpolate``. Cases: ganops/bench/cases/interpolate.py."""

import sys

from ganops.bench import main

if __name__ == "__main__":
    raise SystemExit(main(["--op", "interpolate", *sys.argv[1:]]))
