"""The benchmark of one op family: ``ganops bench --op gradient_penalty``. Cases: ganops/bench/cases/gradient_penalty.py."""

import sys

from ganops.bench import main

if __name__ == "__main__":
    raise SystemExit(main(["--op", "gradient_penalty", *sys.argv[1:]]))
