"""``ganops bench --op optimizers`` as a script; the cases are in ganops/bench/cases."""

import sys

from ganops.bench import main

if __name__ == "__main__":
    raise SystemExit(main(["--op", "optimizers", *sys.argv[1:]]))
