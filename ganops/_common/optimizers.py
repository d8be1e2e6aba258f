"""What the optimisers share that clip what they update: constructors, settings of groups, the step."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from ganops._common import checks
from ganops._common.clip_weights import bounds_within, is_expanded
from ganops._transforms import check_capture, with_own_grad_mode

Lists = tuple[list[Tensor], ...]


def _setting(function: str, name: str, value: object) -> float | Tensor:
    """Returns a number of at least 0, or a tensor that holds one (torch looks into that itself); raises otherwise."""
    if isinstance(value, Tensor):
        if value.numel() != 1:
            raise ValueError(f"{function}: {name} must be a number or a tensor of one, got shape {tuple(value.shape)}")
        return value
    return checks.number(function, name, value, minimum=0)


def _betas(function: str, betas: object) -> tuple[float | Tensor, ...]:
    """Returns two numbers of at least 0 and below 1, or tensors of one; raises otherwise."""
    if not isinstance(betas, (tuple, list)) or len(betas) != 2:
        raise TypeError(f"{function}: betas must be a pair of numbers, got {betas!r}")
    found = tuple(_setting(function, f"betas[{place}]", beta) for place, beta in enumerate(betas))
    for place, beta in enumerate(found):
        if not isinstance(beta, Tensor) and beta >= 1:
            raise ValueError(f"{function}: betas[{place}] must be at least 0 and below 1, got {beta!r}")
    return found


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
            bound = own.bind(self, params, *arguments, **settings)
        except TypeError as error:
            raise TypeError(f"{self._function}: {error}") from None
        given = bound.arguments
        for name in ("lr", "alpha", "eps", "weight_decay", "momentum"):
            if name in given:
                given[name] = _setting(self._function, name, given[name])
        if "betas" in given:
            given["betas"] = _betas(self._function, given["betas"])
        clip = self._checked_clip(clip)
        base.__init__(*bound.args, **bound.kwargs)
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
        for place, weight in enumerate(group["params"]):
            if is_expanded(weight):
                raise ValueError(
                    f"{self._function}: params[{place}] of shape {tuple(weight.shape)} is an expanded tensor, whose "
                    "elements share memory; pass the tensor that was expanded"
                )

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

    def _where_steps_are_made(self, group: dict[str, Any]) -> AbstractContextManager[Any]:
        """torch makes some numbers of steps on its default device, which may have nothing to do with the weights.

        On "meta" they would have no value.
        """
        made = len(self.state) >= sum(len(each["params"]) for each in self.param_groups)
        if made or not group["params"] or torch.compiler.is_compiling():
            return nullcontext()
        default = torch.get_default_device().type
        return nullcontext() if default in ("cpu", group["params"][0].device.type) else torch.device("cpu")

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
            with self._where_steps_are_made(group):
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
        lr, clip = group["lr"], group["clip"]
        if clip is None or (not isinstance(lr, Tensor) and lr == 0):
            return
        # Where no step is made nothing is clipped either. Numbers in tensors are not waited for.
        still = [lr == 0] if isinstance(lr, Tensor) else []
        if by_torch and found_inf is not None:
            still.append(found_inf != 0)
        for weight in lists[0]:
            bounds = bounds_within(weight.dtype, -clip, clip)
            if bounds is None:
                continue
            clipped = weight.clamp(*bounds) if still else weight.clamp_(*bounds)
            for unmoved in still:
                clipped = torch.where(unmoved.to(weight.device), weight, clipped)
            if still:
                weight.copy_(clipped)

    def _torch_step(
        self,
        group: dict[str, Any],
        lists: Lists,
        complex_weights: bool,
        grad_scale: Tensor | None,
        found_inf: Tensor | None,
    ) -> None:
        raise NotImplementedError
