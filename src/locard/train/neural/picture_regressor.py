"""A small convolutional network that gives mean and spread of a model's margin on pictures of non-members."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from locard.seeds import Seed

EPOCHS, BATCH, RATE = 6, 100, 4e-3
Regressor = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def picture_regressor(
    features: np.ndarray, y: np.ndarray, margin: np.ndarray, classes: int, seed: Seed
) -> tuple[Regressor, float]:
    """``f(pictures, classes) -> mean, spread`` of the margin, and the spread over all.

    Two convolutions of stride 2, 64 units, then mean and log spread; the class joins before the units. Adam on the
    negative log-likelihood, 6 passes.

    Args:
        features: ``[pictures, rows, columns]`` or with channels last; bytes are divided by 255.
        y: ``int64[pictures]``.
        margin: ``float64[pictures]``, nats.
        classes: how many there are.
        seed: of weights and batches.
    """
    middle, usual = float(margin.mean()), max(float(margin.std()), 1e-12)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed.integer())
        shown = _pictures(features)
        channels, rows, columns = shown.shape[1:]
        trunk = torch.nn.Sequential(
            torch.nn.Conv2d(channels, 16, 3, stride=2, padding=1),
            torch.nn.ReLU(),
            torch.nn.Conv2d(16, 32, 3, stride=2, padding=1),
            torch.nn.ReLU(),
            torch.nn.Flatten(),
        )
        width = 32 * ((rows + 3) // 4) * ((columns + 3) // 4)
        head = torch.nn.Sequential(torch.nn.Linear(width + classes, 64), torch.nn.ReLU(), torch.nn.Linear(64, 2))
    learner = torch.optim.Adam([*trunk.parameters(), *head.parameters()], lr=RATE)
    wanted = torch.from_numpy((margin - middle) / usual).float()
    label = torch.nn.functional.one_hot(torch.from_numpy(y), classes).float()
    rng = seed.child("batches").generator()
    for _ in range(EPOCHS):
        order = torch.from_numpy(rng.permutation(len(y)))
        for start in range(0, len(y), BATCH):
            rows_of = order[start : start + BATCH]
            out = head(torch.cat([trunk(shown[rows_of]), label[rows_of]], dim=1))
            log_spread = out[:, 1].clamp(-4, 4)
            loss = (log_spread + 0.5 * ((wanted[rows_of] - out[:, 0]) * torch.exp(-log_spread)) ** 2).mean()
            learner.zero_grad()
            loss.backward()
            learner.step()

    def both(pictures: np.ndarray, of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        means, spreads = [], []
        with torch.no_grad():
            for start in range(0, len(of), 1024):
                x, c = _pictures(pictures[start : start + 1024]), torch.from_numpy(of[start : start + 1024])
                out = head(torch.cat([trunk(x), torch.nn.functional.one_hot(c, classes).float()], dim=1))
                means.append(out[:, 0].double().numpy())
                spreads.append(np.exp(out[:, 1].clamp(-4, 4).double().numpy()))
        return middle + usual * np.concatenate(means), usual * np.concatenate(spreads)

    return both, usual


def _pictures(features: np.ndarray) -> torch.Tensor:
    """``float32[pictures, channels, rows, columns]``."""
    x = features[..., None] if features.ndim == 3 else features
    scale = 255.0 if features.dtype == np.uint8 else 1.0
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, -1, 1), dtype=np.float32)) / scale
