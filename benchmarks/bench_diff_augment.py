"""``ganops bench --op diff_augment`` as a script; the cases are in ganops/bench/cases."""

import sys

from ganops.bench import main

if __name__ == "__main__":
    raise SystemExit(main(["--op", "diff_augment", *sys.argv[1:]]))
