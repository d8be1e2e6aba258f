"""FID as published, in the feature space of Inception-v3, if its package and weights are on the machine."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor

from ganops._common import checks
from ganops.metrics.images import check_finite

__all__ = ["inception_fid"]

_WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"  # the name under which torch-fidelity keeps them


def inception_fid(fake: Tensor, real: Tensor, *, batch_size: int = 50) -> float:
    """Return the Frechet inception distance by torch-fidelity (through torchmetrics), which has the original weights.

    Grey images are repeated over three channels. Published values compare 50,000 fakes with all real images; fewer give
    larger values.

    Args:
        fake, real: (N, C, H, W) and (M, C, H, W) in [-1, 1], C = 1 or 3.
        batch_size: number of images per forward pass.

    Raises:
        ModuleNotFoundError: torchmetrics or torch-fidelity is not installed.
        FileNotFoundError: Inception's weights are not on this machine. Nothing is downloaded here.
    """
    batch_size = checks.whole("inception_fid", "batch_size", batch_size, minimum=1)
    for name, images in (("fake", fake), ("real", real)):
        if images.ndim != 4 or images.shape[1] not in (1, 3):
            raise ValueError(f"inception_fid: {name} must be (N, 1 or 3, H, W), got {tuple(images.shape)}")
        check_finite("inception_fid", images)
    try:
        import torch_fidelity  # noqa: F401
        from torchmetrics.image.fid import FrechetInceptionDistance
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"inception_fid needs the package {error.name!r}, which is not installed: "
            "pip install torchmetrics torch-fidelity",
            name=error.name,
        ) from None
    weights = _weights_file()
    if not weights.is_file():
        raise FileNotFoundError(
            f"inception_fid: Inception's weights are not at {weights}; put torch-fidelity's file {_WEIGHTS} there, or "
            "use frechet_distance, which compares images by a classifier trained on the real ones"
        )
    fid = FrechetInceptionDistance(feature_extractor_weights_path=str(weights))
    with torch.no_grad():
        for images, is_real in ((fake, False), (real, True)):
            for part in images.split(batch_size):
                pixels = ((part.float().cpu().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
                fid.update(pixels.expand(-1, 3, -1, -1), real=is_real)
    return fid.compute().item()


def _weights_file() -> Path:
    """The place where torch-fidelity, through torch.hub, looks for the weights."""
    return Path(os.path.expanduser(torch.hub.get_dir())) / "checkpoints" / _WEIGHTS
