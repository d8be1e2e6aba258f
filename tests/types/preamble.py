# The names that the pages' code uses and does not define.
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import ganops  # noqa: F401

device: str = "cpu"
critic: nn.Module = nn.Linear(2, 1)
discriminator: nn.Module = critic
generator: nn.Module = nn.Linear(64, 2)
real: Tensor = torch.randn(8, 2)
fake: Tensor = torch.randn(8, 2)
samples: Tensor = real
features: Tensor = real
spectrum: Tensor = real
batches: list[tuple[Tensor, Tensor]] = [(real, fake)]
loader: DataLoader[tuple[Tensor, ...]] = DataLoader(TensorDataset(real), 4)
