"""The argument checks under their former name, for modules that still import them from here."""

from ganops._common.checks import *  # noqa: F403
from ganops._common.dtypes import autocasts, promoted, without_autocast  # noqa: F401
