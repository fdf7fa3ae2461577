"""Writes patients.csv: invented hospital visits, several rows a patient. The same seed writes the same file.

python examples/patients/make_patients.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

PATIENTS = 600
HERE = Path(__file__).parent


def make(seed: int = 11) -> pd.DataFrame:
    """One row a visit; what a patient is like stays the same from visit to visit, up to some noise."""
    rng = np.random.default_rng(seed)
    visits = rng.choice([1, 2, 3, 4, 5], p=[0.3, 0.3, 0.2, 0.12, 0.08], size=PATIENTS)
    of = np.repeat(np.arange(PATIENTS), visits)
    n = len(of)
    age = rng.integers(18, 92, size=PATIENTS)
    sex = rng.choice(["f", "m"], size=PATIENTS)
    pressure, sugar = rng.normal(128, 16, size=PATIENTS), rng.gamma(9.0, 0.7, size=PATIENTS)
    smoker = rng.random(PATIENTS) < 0.25
    frailty = rng.normal(size=PATIENTS)
    ward = rng.choice(["cardiology", "general", "surgery"], p=[0.3, 0.5, 0.2], size=n)
    stay = 1 + rng.poisson(2.5 + 0.03 * age[of])
    odds = -2.2 + 0.02 * (age[of] - 50) + 0.02 * (pressure[of] - 128) + 0.9 * smoker[of] + 0.8 * frailty[of]
    odds += 0.08 * stay + 0.5 * (ward == "cardiology")
    table = pd.DataFrame(
        {
            "visit": [f"V{k:05d}" for k in rng.permutation(90_000)[:n]],
            "patient": [f"P{k:04d}" for k in of],
            "sex": sex[of],
            "age": age[of],
            "ward": ward,
            "smoker": np.where(smoker[of], "yes", "no"),
            "systolic": (pressure[of] + rng.normal(0, 6, size=n)).round(),
            "glucose": (sugar[of] + rng.normal(0, 0.5, size=n)).round(1),
            "stay_days": stay,
            "readmitted": np.where(rng.random(n) < 1 / (1 + np.exp(-odds)), "yes", "no"),
        }
    )
    table.loc[rng.random(n) < 0.04, "glucose"] = np.nan  # not measured
    return table.sample(frac=1.0, random_state=seed, ignore_index=True)


if __name__ == "__main__":
    path = HERE / "patients.csv"
    table = make()
    table.to_csv(path, index=False)
    print(f"{path}: {len(table)} visits of {table['patient'].nunique()} patients")
