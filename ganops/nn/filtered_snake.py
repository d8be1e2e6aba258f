"""The anti-aliased Snake as a module, under the parameter names of BigVGAN's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ganops import ops
from ganops._common import checks
from ganops._common.filtered_snake import kaiser_sinc, usual_taps


class _Filter(nn.Module):
    """A filter as a buffer (1, 1, taps)."""

    def __init__(self, ratio: int, taps: int) -> None:
        super().__init__()
        self.register_buffer("filter", kaiser_sinc(ratio, taps, torch.float32, torch.device("cpu"))[None, None])


class _Downsample(nn.Module):
    def __init__(self, ratio: int, taps: int) -> None:
        super().__init__()
        self.lowpass = _Filter(ratio, taps)


class _Snake(nn.Module):
    """The parameters of each channel."""

    def __init__(self, channels: int, beta: bool, logscale: bool) -> None:
        super().__init__()
        initial = torch.zeros if logscale else torch.ones
        self.alpha_logscale = logscale
        self.alpha = nn.Parameter(initial(channels))
        self.beta = nn.Parameter(initial(channels)) if beta else None


class AntiAliased(nn.Module):
    """:func:`ganops.filtered_snake` with the parameters of ``act`` (``alpha``, maybe ``beta``, ``alpha_logscale``)."""

    def __init__(self, act: nn.Module, ratio: int, up_taps: int, down_taps: int) -> None:
        super().__init__()
        name = type(self).__name__
        self.ratio = checks.whole(name, "ratio", ratio, minimum=1)
        checks.whole(name, "up_taps", up_taps, minimum=1)
        checks.whole(name, "down_taps", down_taps, minimum=1)
        self.act = act
        self.upsample = _Filter(ratio, up_taps)
        self.downsample = _Downsample(ratio, down_taps)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T) to (N, C, T)."""
        act: Any = self.act
        up: Any = self.upsample.filter
        down: Any = self.downsample.lowpass.filter
        beta = getattr(act, "beta", None)
        filters = up.flatten(), down.flatten()
        return ops.filtered_snake(x, act.alpha, beta, *filters, self.ratio, logscale=bool(act.alpha_logscale))


class FilteredSnake(AntiAliased):
    """:func:`ganops.filtered_snake` with its parameters and filters: BigVGAN's anti-aliased Snake and SnakeBeta.

    The state has the names of BigVGAN's ``Activation1d``, so that its checkpoints load: ``act.alpha``, ``act.beta``,
    ``upsample.filter`` and ``downsample.lowpass.filter``.

    Args:
        channels: C of the signals (N, C, T).
        ratio: How many points the fine grid has for each sample.
        beta: Whether there is a β of its own (SnakeBeta), or α serves for it (Snake).
        logscale: Whether the parameters are logarithms; they start at 0, else at 1.
        up_taps: The length of the filter that upsamples; 6·ratio if None.
        down_taps: The same for the way back.

    Raises:
        ValueError, TypeError: Naming the argument, the value received and the values accepted.

    Example:
        >>> ganops.nn.FilteredSnake(8, logscale=True)(torch.randn(2, 8, 100)).shape
        torch.Size([2, 8, 100])
    """

    def __init__(
        self,
        channels: int,
        ratio: int = 2,
        *,
        beta: bool = True,
        logscale: bool = False,
        up_taps: int | None = None,
        down_taps: int | None = None,
    ) -> None:
        checks.whole("FilteredSnake", "channels", channels, minimum=1)
        usual = usual_taps(checks.whole("FilteredSnake", "ratio", ratio, minimum=1))
        act = _Snake(channels, beta, logscale)
        super().__init__(act, ratio, usual if up_taps is None else up_taps, usual if down_taps is None else down_taps)

    def extra_repr(self) -> str:
        """The settings, for the module's text."""
        act: Any = self.act
        return f"{len(act.alpha)}, ratio={self.ratio}, beta={act.beta is not None}, logscale={act.alpha_logscale}"
