# What type checkers see of the losses: the results depend on `reduction`. The functions are in adversarial_loss.py.

from typing import Literal, TypeAlias, overload

from torch import Tensor

_Unpaired: TypeAlias = Literal[
    "minimax",
    "non_saturating",
    "kl",
    "mle",
    "least_squares",
    "hinge",
    "wasserstein",
    "vanilla",
    "bce",
    "ns",
    "lsgan",
    "ls",
    "mse",
    "wgan",
]
_Paired: TypeAlias = Literal["relativistic", "rpgan"]
_Kind: TypeAlias = _Unpaired | _Paired

@overload
def discriminator_loss(
    real_logits: Tensor,
    fake_logits: Tensor,
    kind: _Kind | str = "non_saturating",
    *,
    reduction: Literal["mean", "sum"] = "mean",
    **parameters: float,
) -> Tensor: ...
@overload
def discriminator_loss(
    real_logits: Tensor,
    fake_logits: Tensor,
    kind: _Paired,
    *,
    reduction: Literal["none"],
    **parameters: float,
) -> Tensor: ...
@overload
def discriminator_loss(
    real_logits: Tensor,
    fake_logits: Tensor,
    kind: _Unpaired = "non_saturating",
    *,
    reduction: Literal["none"],
    **parameters: float,
) -> tuple[Tensor, Tensor]: ...
@overload
def discriminator_loss(
    real_logits: Tensor,
    fake_logits: Tensor,
    kind: str = "non_saturating",
    *,
    reduction: str,
    **parameters: float,
) -> Tensor | tuple[Tensor, Tensor]: ...
def generator_loss(
    fake_logits: Tensor,
    kind: _Kind | str = "non_saturating",
    *,
    real_logits: Tensor | None = None,
    reduction: Literal["mean", "sum", "none"] | str = "mean",
    **parameters: float,
) -> Tensor: ...
