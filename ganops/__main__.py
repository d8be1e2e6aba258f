"""``python -m ganops``: the same as the command ``ganops``."""

from ganops.cli import main

raise SystemExit(main())
