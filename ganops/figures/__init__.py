"""Pictures of theory, training and results. ``ganops figure NAME`` draws one and prints the numbers that it shows.

>>> from ganops import figures
>>> picture = figures.FIGURES["jsd-wasserstein"].draw()                        # doctest: +SKIP
>>> picture.save("jsd.png"); picture.numbers["jsd_at_10"]                      # doctest: +SKIP
"""

from ganops.figures.command import main
from ganops.figures.style import Picture
from ganops.figures.table import FIGURES, Entry

__all__ = ["FIGURES", "Entry", "Picture", "main"]
