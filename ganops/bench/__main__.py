"""``python -m ganops.bench``: the same as ``ganops bench``, without the trainer's requirements."""

from ganops.bench.command import main

if __name__ == "__main__":
    raise SystemExit(main())
