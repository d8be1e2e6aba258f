"""``ganops bench --op minibatch_stddev`` as a script; the cases are in ganops/bench/cases."""

import sys

from ganops.bench import main

if __name__ == "__main__":
    raise SystemExit(main(["--op", "minibatch_stddev", *sys.argv[1:]]))
