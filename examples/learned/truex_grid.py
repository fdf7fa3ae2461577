"""Does it matter what type the target, the shadows and the attack model are? Four types for each, and a federation.

python examples/learned/truex_grid.py [data set, or digits] [models of each type, or 8]

After Truex et al. 2019 (arXiv:1807.09173), sections IV and VI. Prints the mean over targets of the share of right
decisions (log-odds above 0, as many members as others) with its interval over pairs of targets.
"""

from __future__ import annotations

import sys

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

import locard
from locard.attacks.insider import Insider
from locard.attacks.protocol import Attack
from locard.data.source import load_source
from locard.stats import t_over_pairs

TYPES = {
    "tree": DecisionTreeClassifier(random_state=0),
    "knn": make_pipeline(StandardScaler(), KNeighborsClassifier()),
    "logistic": make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)),
    "naive_bayes": GaussianNB(),
}
PARTIES = 3


def main(source: str, models: int) -> None:
    records = load_source(source=source)
    flat = np.nan_to_num(records.features.reshape(len(records), -1).astype(float))
    rng = np.random.default_rng(0)
    coins = rng.random((models // 2, len(records))) < 0.5
    member = np.stack([coins, ~coins], axis=1).reshape(models, -1)  # model 2i and 2i+1 are each other's complement
    said = {name: np.stack([answers(m, flat, records.y, inside) for inside in member]) for name, m in TYPES.items()}
    print(f"{source}: {len(records)} records, {models} models of each type\n")
    for target in TYPES:
        print(f"target {target}\n  shadows      " + "".join(f"{a:>24}" for a in TYPES))
        for shadow in TYPES:
            attacks = [locard.attack("truex", attack_model=a, label=True) for a in TYPES]
            row = [decided(a, said[target], said[shadow], member, records) for a in attacks]
            print(f"  {shadow:<12} " + "".join(f"{str(e) if e.value else 'nothing learnt':>24}" for e in row))
    print(f"\nWhose record is it? {PARTIES} parties, the attacker is one of them (guessing: {1 / (PARTIES - 1):.2f})")
    for name, model in TYPES.items():
        right = np.array([federation(model, flat, records.y, np.random.default_rng(s)) for s in range(10)])
        print(f"  {name:<12} {t_over_pairs(right, factor=1.0, bounds=(0.0, 1.0))}")


def answers(model: object, x: np.ndarray, y: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Probabilities of one model on all records; a class that it never saw has none."""
    made = clone(model).fit(x[inside], y[inside])
    out = np.zeros((len(x), y.max() + 1))
    out[:, made.classes_] = made.predict_proba(x)
    return out


def decided(
    attack: Attack, targets: np.ndarray, shadows: np.ndarray, member: np.ndarray, records: locard.Records
) -> locard.Estimate:
    """Share of right decisions about each target by shadows without the target's own split and its complement."""
    shares = []
    for t, inside in enumerate(member):
        left = np.flatnonzero(np.arange(len(member)) // 2 != t // 2)
        references = locard.References.from_arrays(probabilities=shadows[left], member=member[left], labels=records.y)
        odds = attack.score(locard.Target.from_arrays(probabilities=targets[t]), records, references)
        half = 0.5 * (odds == 0)  # says nothing: a coin
        shares.append(0.5 * ((odds > 0) + half)[inside].mean() + 0.5 * ((odds < 0) + half)[~inside].mean())
    by_pair = np.array(shares).reshape(-1, 2).mean(axis=1)
    return t_over_pairs(by_pair, factor=attack.variance_factor, bounds=(0.0, 1.0))


def federation(model: object, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> float:
    """How often an insider names the right one of the other parties; the last part of the records is in no model."""
    part = rng.permutation(len(x)) % (PARTIES + 1)
    said = np.stack([answers(model, x, y, part == p) for p in range(PARTIES)])
    known = (part == 0) | (part == PARTIES)
    guess = Insider().guess(said[:, known], part[known] == 0, said[:, ~known], party=0)
    return float((guess == part[~known]).mean())


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "digits", int(sys.argv[2]) if len(sys.argv) > 2 else 8)
