"""``ganops bench --op clip_weights`` as a script; the cases are in ganops/bench/cases."""

import sys

from ganops.bench import main

if __name__ == "__main__":
    raise SystemExit(main(["--op", "clip_weights", *sys.argv[1:]]))
