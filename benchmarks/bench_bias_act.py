"""``ganops bench --op bias_act`` as a script; the cases are in ganops/bench/cases."""

import sys

from ganops.bench import main

if __name__ == "__main__":
    raise SystemExit(main(["--op", "bias_act", *sys.argv[1:]]))
