from ganops import reference
from ganops.reference import *  # noqa: F403  (the fused ones take these names once the library is built)

__version__ = "0.1.0"
