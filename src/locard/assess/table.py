"""``records.parquet``: one row a record, in the order and under the ids that were given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from locard.assess.estimates import Scored
from locard.assess.exposure import Exposure
from locard.assess.memorisation import memorisation
from locard.assess.released import Released
from locard.assess.scoring import Audited

if TYPE_CHECKING:
    import pandas as pd


def records_table(
    audited: Audited,
    scored: list[Scored],
    exposure: Exposure,
    released: Released | None,
    near_duplicate: np.ndarray | None,
) -> pd.DataFrame:
    """The table. From ``hits_in`` on, the columns are those of the record's unit.

    A score column is the mean over targets that held the record minus the mean over targets that did not.
    """
    import pandas as pd

    records = audited.records
    columns: dict[str, Any] = {"id": records.ids}
    columns["unit"] = records.ids if records.unit is None else records.unit
    columns["label"] = records.labels
    for name, values in records.groups.items():
        columns[name if name not in columns else f"group_{name}"] = values
    if released is not None:
        columns["member"] = released.member
    if near_duplicate is not None:
        columns["near_duplicate"] = near_duplicate
    for s in scored:
        columns[f"score_{s.label}"] = _contrast(s.scores, audited.member)
        if released is not None and s.label in released.scores:
            columns[f"released_{s.label}"] = released.scores[s.label]
    grades, unit = exposure.grades, records.units
    columns |= memorisation(audited)
    columns |= {
        "hits_in": exposure.hits_in[unit],
        "hits_out": exposure.hits_out[unit],
        "trials": np.full(len(unit), exposure.trials, dtype=np.int64),
        "wins": exposure.wins[unit],
        "pairs": exposure.pairs[unit],
        "p_flip": grades.p_flip[unit],
        "p_hit": grades.p_hit[unit],
        "q": grades.q[unit],
        "low": grades.low[unit],
        "high": grades.high[unit],
        "fcr_low": grades.fcr_low[unit],
        "fcr_high": grades.fcr_high[unit],
        "grade": grades.grade[unit],
    }
    return pd.DataFrame(columns)


def _contrast(scores: np.ndarray, member: np.ndarray) -> np.ndarray:
    """Mean over IN targets minus mean over OUT targets; NaN where a record has only one kind."""
    inside, outside = member.sum(axis=0), (~member).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_in = np.where(member, scores, 0.0).sum(axis=0) / inside
        mean_out = np.where(~member, scores, 0.0).sum(axis=0) / outside
    contrast: np.ndarray = np.where((inside > 0) & (outside > 0), mean_in - mean_out, np.nan)
    return contrast
