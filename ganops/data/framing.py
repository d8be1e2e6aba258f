"""How an image is framed: scaled, cropped and flipped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch

from ganops._common import checks
from ganops.data import image_files

__all__ = ["Crop", "Framing"]

Crop = Literal["center", "random"]


@dataclass(frozen=True)
class Framing:
    """Scale, crop and flip of every image of a data set.

    Attributes:
        size: side of the square that is cropped; None: images are kept as they are.
        resize: length to which the shorter side is scaled before the crop; None: `size`.
        crop: the middle of the image, or a new random place each time.
        flip: whether half of the images, chosen anew each time, are mirrored left to right.
    """

    size: int | None = None
    resize: int | None = None
    crop: Crop = "center"
    flip: bool = False

    def __post_init__(self) -> None:
        for name in ("size", "resize"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, checks.whole("images", name, getattr(self, name), minimum=1))
        checks.choice("images", "crop", self.crop, get_args(Crop))
        if self.size is None and (self.resize is not None or self.crop == "random"):
            option = "resize" if self.resize is not None else "crop=random"
            raise ValueError(f"images: {option} needs the side of the crop; add the option size, e.g. size=64")
        if self.size is not None and self.resize is not None and self.resize < self.size:
            raise ValueError(f"images: resize must be at least size, {self.size}, got {self.resize}")

    @property
    def scaled(self) -> int | None:
        """The length of the shorter side after scaling; None: as it was."""
        return self.size if self.resize is None else self.resize

    @property
    def varies(self) -> bool:
        """Whether an image can look different each time."""
        return self.flip or self.crop == "random"

    def pixels(self, width: int, height: int) -> int:
        """The number of pixels that `decode` returns for an image of this size."""
        if self.size is None or self.crop == "center":
            return width * height if self.size is None else self.size**2
        return self.scaled * round(max(width, height) * self.scaled / min(width, height))

    def decode(self, picture: Any) -> np.ndarray:
        """The part that is always the same: the pixels of a Pillow image, (H, W) or (H, W, 3), uint8.

        With ``crop="random"`` they are those of the whole scaled image, otherwise of the middle square.
        """
        whole = self.crop == "random" or self.scaled != self.size
        image = image_files.pixels(picture, self.scaled, whole=whole)
        return self._cropped(image, (0.5, 0.5)) if whole and self.crop == "center" else image

    def _cropped(self, image: np.ndarray, place: tuple[float, float]) -> np.ndarray:
        """The square at a relative place, from (0, 0), the upper left corner, to (1, 1), which is excluded."""
        top, left = (int(p * (side - self.size + 1)) for p, side in zip(place, image.shape[:2], strict=True))
        return image[top : top + self.size, left : left + self.size]

    def vary(self, image: np.ndarray, number: int) -> np.ndarray:
        """The random part, as a function of a `number` in [0, 2^63) that is drawn for the image."""
        if self.crop == "random":
            # Two times 31 bits for the place, and one for the flip.
            image = self._cropped(image, ((number >> 1) % 2**31 / 2**31, (number >> 32) / 2**31))
        if not (self.flip and number & 1):
            return image
        # A copy in reverse is four times as fast in torch, which has a kernel for it.
        pixels = torch.from_numpy(image).reshape(1, *image.shape[:2], -1).permute(0, 3, 1, 2)
        return pixels.flip(3).permute(0, 2, 3, 1).numpy().reshape(image.shape)
