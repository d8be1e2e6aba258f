"""Class labels in any generator and in any discriminator."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

__all__ = ["LabelledGenerator", "ProjectionDiscriminator", "label_width"]

_LABEL_WIDTH = 32


def label_width(classes: int | None) -> int:
    """Return the length of the label's embedding beside z; 0 without classes."""
    return 0 if classes is None else min(classes, _LABEL_WIDTH)


class LabelledGenerator(nn.Module):
    """A generator that gets z with the label's embedding appended (Mirza & Osindero 2014, arXiv:1411.1784).

    Args:
        body: a network from (N, latent_dim + label_width(classes)) to samples.
        classes: number of classes.
    """

    def __init__(self, body: nn.Module, classes: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes, label_width(classes))
        self.body = body

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """Make samples from z (N, latent_dim) and labels (N,) int64."""
        return self.body(torch.cat([z, self.embedding(labels)], dim=1))


class ProjectionDiscriminator(nn.Module):
    """Logits ψ(φ(x)) + ⟨v_y, φ(x)⟩ with one vector per class (Miyato & Koyama 2018, arXiv:1802.05637, equation 3).

    For packed samples the labels are (N, pack), and each place in the pack has its own vectors.

    Args:
        features: φ, a network from samples to (N, units).
        head: ψ, a linear map from the units to one logit.
        classes: number of classes.
        pack: labels per sample.
        spectral: apply spectral normalisation to ψ and to the vectors.
    """

    def __init__(
        self, features: nn.Module, head: nn.Linear, classes: int, pack: int = 1, *, spectral: bool = False
    ) -> None:
        super().__init__()
        self.features = features
        self.head = spectral_norm(head) if spectral else head
        vectors = nn.Embedding(pack * classes, head.in_features)
        nn.init.normal_(vectors.weight, 0.0, 0.02)  # no larger than the head's weights
        self.vectors = spectral_norm(vectors) if spectral else vectors
        self.register_buffer("offsets", classes * torch.arange(pack), persistent=False)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """Return the logits (N, 1) of samples (N, …) with labels (N,) or (N, pack) int64."""
        features = self.features(x)
        vectors = self.vectors(labels.reshape(len(x), -1) + self.offsets).sum(dim=1)
        return self.head(features) + (vectors * features).sum(dim=1, keepdim=True)
