"""A training function around a plain PyTorch loop, as you may have one already."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def train(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    seed: int,
    device: str,
    classes: int,
    epochs: int = 20,
    learning_rate: float = 0.05,
) -> Callable[[np.ndarray], Any]:
    """Trains on these records and returns predict(features) -> logits [records, classes]."""
    import torch  # here, so that reading this file does not need it

    torch.manual_seed(seed)  # initial weights; the shuffling below has a generator of its own
    model = torch.nn.Sequential(
        torch.nn.LayerNorm(features.shape[1]),
        torch.nn.Linear(features.shape[1], 64),
        torch.nn.ReLU(),
        torch.nn.Linear(64, classes),
    ).to(device)
    data = torch.utils.data.TensorDataset(torch.tensor(features, dtype=torch.float32), torch.tensor(labels))
    order = torch.Generator().manual_seed(seed)
    batches = torch.utils.data.DataLoader(data, batch_size=64, shuffle=True, generator=order)
    optimiser = torch.optim.SGD(model.parameters(), lr=learning_rate, momentum=0.9)
    for _ in range(epochs):
        for x, y in batches:
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(model(x.to(device)), y.to(device)).backward()
            optimiser.step()
    model.eval()  # dropout and the like off: a model is asked as it would be served

    def predict(asked: np.ndarray) -> Any:
        with torch.no_grad():
            return model(torch.tensor(asked, dtype=torch.float32, device=device))

    return predict
