"""Back from codes to a table: what a released model that was trained on the table itself wants to be asked with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from locard.data.records import Column

if TYPE_CHECKING:
    import pandas as pd


def decode(features: np.ndarray, columns: tuple[Column, ...]) -> pd.DataFrame:
    """The table that ``encode`` read: numbers as float64, categories as text (True and False as booleans).

    >>> from locard.data.columns import encode
    >>> import pandas as pd
    >>> x, columns, _ = encode(pd.DataFrame({"age": [31.0, 40.0], "sex": ["f", None]}))
    >>> decode(x, columns)["sex"].tolist()
    ['f', None]
    """
    import pandas as pd

    out = {}
    for place, column in enumerate(columns):
        values = features[:, place]
        if column.kind == "number":
            out[column.name] = pd.Series(values)
            continue
        known = np.isfinite(values)
        text = np.full(len(values), None, dtype=object)
        levels = np.array(column.levels, dtype=object)
        text[known] = levels[values[known].astype(np.int64)]
        if set(column.levels) <= {"True", "False"} and known.all():
            out[column.name] = pd.Series(text == "True")
        else:
            out[column.name] = pd.Series(text, dtype=object)
    return pd.DataFrame(out)
