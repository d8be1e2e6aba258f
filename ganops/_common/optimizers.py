"""What the optimisers share that clip what they update: constructors, settings of groups, the step."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn

from ganops._common import checks
from ganops._transforms import check_capture, with_own_grad_mode

Lists = tuple[list[Tensor], ...]


def _setting(function: str, name: str, value: object) -> None:
    """Raises unless ``value`` is a number of at least 0, or a tensor that holds one (torch looks into that itself)."""
    if isinstance(value, Tensor):
        if value.numel() != 1:
            raise ValueError(f"{function}: {name} must be a number or a tensor of one, got shape {tuple(value.shape)}")
        return
    plain = isinstance(value, Real) and not isinstance(value, bool)
    checks.number(function, name, float(value) if plain else value, minimum=0)


def _betas(function: str, betas: object) -> None:
    """Raises unless ``betas`` are two numbers of at least 0 and below 1, or tensors of one."""
    if not isinstance(betas, (tuple, list)) or len(betas) != 2:
        raise TypeError(f"{function}: betas must be a pair of numbers, got {betas!r}")
    for place, beta in enumerate(betas):
        _setting(function, f"betas[{place}]", beta)
        if not isinstance(beta, Tensor) and beta >= 1:
            raise ValueError(f"{function}: betas[{place}] must be at least 0 and below 1, got {beta!r}")


def constructor(base: type[torch.optim.Optimizer]) -> Callable[..., None]:
    """That of ``base`` with ``clip`` as one more keyword. It checks what torch's would let pass, or would complain of
    with less to go by."""
    own = inspect.signature(base.__init__)

    def __init__(self: Clipping, params: Any, *arguments: Any, clip: float | None = None, **settings: Any) -> None:
        if isinstance(params, nn.Module):
            raise TypeError(
                f"{self._function}: params must be an iterable of tensors or of dicts, got {type(params).__name__}; "
                "pass its .parameters()"
            )
        try:
            given = own.bind(self, params, *arguments, **settings).arguments
        except TypeError as error:
            raise TypeError(f"{self._function}: {error}") from None
        for name in ("lr", "alpha", "eps", "weight_decay", "momentum"):
            if name in given:
                _setting(self._function, name, given[name])
        if "betas" in given:
            _betas(self._function, given["betas"])
        self._checked_clip(clip)
        base.__init__(self, params, *arguments, **settings)
        self.defaults["clip"] = clip
        for group in self.param_groups:
            self._settle_group(group)

    more = inspect.Parameter("clip", inspect.Parameter.KEYWORD_ONLY, default=None, annotation="float | None")
    __init__.__signature__ = own.replace(parameters=[*own.parameters.values(), more])
    return __init__


class Clipping:
    """What the optimisers share: ``clip`` as a setting of each group, and the step that looks after it."""

    _function: str  # how messages name the optimiser
    _lists: int  # those that the optimiser's _init_group fills: weights, gradients, state, steps

    def _checked_clip(self, clip: object) -> float | None:
        return None if clip is None else checks.number(self._function, "clip", clip, above=0)

    def _settle_group(self, group: dict[str, Any]) -> None:
        group["clip"] = self._checked_clip(group.get("clip", self.defaults["clip"]))
        if group["clip"] is not None and any(p.is_complex() for p in group["params"]):
            raise TypeError(f"{self._function}: clip needs real weights, got complex ones; give those a group without")

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As torch's; ``clip`` is one of the settings that a group may have of its own."""
        super().add_param_group(param_group)
        if "clip" not in self.defaults:  # from within torch's constructor
            return
        try:
            self._settle_group(self.param_groups[-1])
        except (TypeError, ValueError):
            self.param_groups.pop()
            raise

    def __setstate__(self, state: dict[str, Any]) -> None:
        # A checkpoint of torch's own optimiser says nothing of clipping: it stays what it is here.
        before = [group.get("clip") for group in self.__dict__.get("param_groups", ())]
        super().__setstate__(state)
        for place, group in enumerate(self.param_groups):
            group.setdefault("clip", before[place] if place < len(before) else self.defaults.get("clip"))

    @with_own_grad_mode
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step, then the clipping. Returns what ``closure``, which computes the loss again, returns, or None."""
        check_capture(self)
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._checked_clip(group["clip"])  # it may have been changed since
            lists: Lists = tuple([] for _ in range(self._lists))
            complex_weights = self._init_group(group, *lists)
            if lists[0]:
                self._update(group, lists, complex_weights)
        return loss

    def _update(self, group: dict[str, Any], lists: Lists, complex_weights: bool) -> None:
        """The step of a group: ``lists`` as torch's ``_init_group`` filled them."""
        scale, found_inf = getattr(self, "grad_scale", None), getattr(self, "found_inf", None)
        by_torch = bool(group.get("fused"))  # which then scales by itself, without waiting for the device
        if not by_torch:
            if found_inf is not None and found_inf.item():
                return
            if scale is not None:
                inverse = scale.double().reciprocal().float()
                for gradient in lists[1]:
                    gradient.mul_(inverse.to(gradient.device))
        self._torch_step(group, lists, complex_weights, scale if by_torch else None, found_inf if by_torch else None)
        if group["clip"] is None:
            return
        for weight in lists[0]:
            if by_torch and found_inf is not None:
                clipped = weight.clamp(-group["clip"], group["clip"])
                weight.copy_(torch.where(found_inf.to(weight.device) != 0, weight, clipped))
            else:
                weight.clamp_(-group["clip"], group["clip"])

    def _torch_step(
        self,
        group: dict[str, Any],
        lists: Lists,
        complex_weights: bool,
        grad_scale: Tensor | None,
        found_inf: Tensor | None,
    ) -> None:
        raise NotImplementedError
