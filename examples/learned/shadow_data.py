"""An attacker without data of the target's kind makes some, three ways, and trains shadow models on it.

python examples/learned/shadow_data.py

After Shokri et al. 2017 (arXiv:1610.05820), section V-C, on the embedded digits made black and white (64 two-valued
features). Prints the AUC of `shadow` by each kind of shadow data, and the questions that making them took.
"""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import RandomForestClassifier

import locard
from locard.attacks.indirect.domain import Domain
from locard.attacks.shadow_data import ModelBased, Synthetic, from_marginals, noisy_real
from locard.data.source import load_source

SHADOWS = 6


def main() -> None:
    digits = load_source(source="digits")
    x, y = (digits.features.reshape(len(digits), -1) > 7).astype(np.uint8), digits.y
    rng = np.random.default_rng(0)
    part = rng.permutation(len(x)) % 3  # the target's members, its non-members, and what the attacker may hold
    model = RandomForestClassifier(100, random_state=0).fit(x[part == 0], y[part == 0])
    audited = part < 2
    records = locard.Records(ids=np.flatnonzero(audited), features=x[audited], labels=y[audited])
    target = locard.Target.from_arrays(probabilities=model.predict_proba(x[audited]), predict=model.predict_proba)
    held = locard.Records(ids=np.flatnonzero(part == 2), features=x[part == 2], labels=y[part == 2])
    domain = Domain.of(held)
    made = {
        "real, of the same kind": Synthetic(held.features, held.y, 0),
        "real, 10 % noise": noisy_real(held, domain, 0.1, rng),
        "real, 20 % noise": noisy_real(held, domain, 0.2, rng),
        "from marginals": from_marginals(held, domain, target, len(held), rng),
        "climbed to": ModelBased(tries=300).make(target, domain, len(held), 10, rng),
    }
    for name, data in made.items():
        scores = attacked(target, records, data, rng)
        area = locard.measure(scores, part[audited] == 0).auc
        print(f"{name:<24} {len(data.y):>5} records, {data.queries:>7,} questions   AUC {area}")


def attacked(target: locard.Target, records: locard.Records, data: Synthetic, rng: np.random.Generator) -> np.ndarray:
    """The scores of `shadow` with shadow models trained on halves of these data."""
    inside = np.stack([rng.permutation(len(data.y)) % 2 == 0 for _ in range(SHADOWS)])
    said = []
    for half in inside:
        model = RandomForestClassifier(100, random_state=0).fit(data.features[half], data.y[half])
        p = np.zeros((len(data.y), 10))
        p[:, model.classes_] = model.predict_proba(data.features)
        said.append(p)
    shadows = locard.References.from_arrays(probabilities=np.stack(said), member=inside, labels=data.y)
    return locard.attack("shadow").score(target, records, shadows)


if __name__ == "__main__":
    main()
