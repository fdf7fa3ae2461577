"""Trains the model that will be released: writes loans.csv (invented), model.skops and train_ids.txt beside this file.

Needs `pip install 'locard[skops]'`.   python examples/released/train.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from skops import io

HERE = Path(__file__).parent
LOANS = 1200


def invent(rng: np.random.Generator) -> pd.DataFrame:
    """Loans with a label that features explain only in part."""
    income, amount = rng.lognormal(10.4, 0.4, LOANS), rng.lognormal(9.0, 0.6, LOANS)
    years, late = rng.integers(1, 8, LOANS), rng.poisson(0.6, LOANS)
    purpose = rng.choice(["car", "house", "studies", "other"], size=LOANS)
    odds = -1.6 + 0.9 * late + 1.2 * (amount / income) - 0.15 * years + 0.5 * (purpose == "other")
    return pd.DataFrame(
        {
            "loan": [f"L{k}" for k in rng.permutation(100_000)[:LOANS]],
            "income": income.round(-1),
            "amount": amount.round(-1),
            "years": years,
            "late_payments": late,
            "purpose": purpose,
            "defaulted": np.where(rng.random(LOANS) < 1 / (1 + np.exp(-odds)), "yes", "no"),
        }
    )


def main() -> None:
    rng = np.random.default_rng(5)
    loans = invent(rng)
    loans.to_csv(HERE / "loans.csv", index=False)
    train = loans[rng.random(LOANS) < 0.5]  # the others are the known non-members, which the audit needs
    encode = make_column_transformer(
        (StandardScaler(), ["income", "amount", "years", "late_payments"]),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["purpose"]),
    )
    model = make_pipeline(encode, RandomForestClassifier(n_estimators=25, min_samples_leaf=3, random_state=1))
    model.fit(train.drop(columns=["loan", "defaulted"]), train["defaulted"])
    io.dump(model, HERE / "model.skops")
    (HERE / "train_ids.txt").write_text("\n".join(train["loan"]) + "\n")
    print(f"trained on {len(train)} of {LOANS} loans: loans.csv, model.skops, train_ids.txt are in {HERE}")


if __name__ == "__main__":
    main()
