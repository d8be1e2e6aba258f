"""``ganops bench --op feature_matching`` as a script; the cases are in ganops/bench/cases."""

import sys

from ganops.bench import main

if __name__ == "__main__":
    raise SystemExit(main(["--op", "feature_matching", *sys.argv[1:]]))
