"""The benchmark of one op family: ``ganops bench --op adversarial_loss``. Cases: ganops/bench/cases/adversarial_loss.py."""

import sys

from ganops.bench import main

if __name__ == "__main__":
    raise SystemExit(main(["--op", "adversarial_loss", *sys.argv[1:]]))
