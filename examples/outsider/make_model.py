"""Somebody else's model: a random forest on 2,000 Adult records. Writes model.skops and the ids in question.

Of the 4,000 candidates half were in its training; whoever attacks does not know which (truth.txt does, to check).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import skops.io
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from locard.data.frames import decode
from locard.data.source import load_source

FOLDER = Path(__file__).parent


def main() -> None:
    """Draw, train, write."""
    records = load_source(source="adult")
    rng = np.random.default_rng(1)
    candidates = rng.permutation(len(records))[:4000]
    members = candidates[:2000]
    columns = records.columns or ()
    categories = [c.name for c in columns if c.kind == "category"]
    encode = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), categories), remainder="passthrough")
    model = make_pipeline(encode, RandomForestClassifier(100, min_samples_leaf=2, random_state=0, n_jobs=1))
    table = decode(records.features, columns)
    model.fit(table.iloc[members], records.labels[members])
    skops.io.dump(model, FOLDER / "model.skops")
    for name, chosen in (("candidates.txt", candidates), ("truth.txt", members)):
        text = "\n".join(str(i) for i in np.sort(records.ids[chosen]))
        (FOLDER / name).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
