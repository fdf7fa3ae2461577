"""Trains eight classifiers, as somebody else may have: writes tumours.csv, members.npz and models/ beside this file.

Needs `pip install 'locard[skops]'`.   python examples/checkpoints/train.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from skops import io

HERE = Path(__file__).parent
MODELS = 8


def main() -> None:
    frame = load_breast_cancer(as_frame=True).frame
    frame.insert(0, "sample", [f"T{k:03d}" for k in range(len(frame))])
    frame["target"] = np.where(frame["target"] == 1, "benign", "malignant")
    frame.to_csv(HERE / "tumours.csv", index=False)
    coins = np.random.default_rng(3).random((MODELS // 2, len(frame))) < 0.5
    member = np.repeat(coins, 2, axis=0)
    member[1::2] = ~coins  # models 2k and 2k + 1 are partners: each tumour is in exactly one of them
    member[:, 500:] = False  # the last 69 are in no model: they show what non-members look like
    (HERE / "models").mkdir(exist_ok=True)
    features = frame.drop(columns=["sample", "target"])
    for k, inside in enumerate(member):
        forest = RandomForestClassifier(n_estimators=20, random_state=k)
        io.dump(forest.fit(features[inside], frame["target"][inside]), HERE / f"models/forest-{k:02d}.skops")
    np.savez(HERE / "members.npz", member=member, ids=frame["sample"].to_numpy(dtype=str))
    print(f"trained {MODELS} forests: models, members.npz and tumours.csv are in {HERE}")


if __name__ == "__main__":
    main()
