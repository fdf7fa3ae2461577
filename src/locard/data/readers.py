"""How the files of each named public set become a table or arrays."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from locard.data.catalogue import PublicSet
from locard.data.pickled_table import read_pickled_table
from locard.data.records import Records

if TYPE_CHECKING:
    import pandas as pd

Contents = Mapping[str, bytes]  # file name -> content, unpacked and checked

_ADULT = (
    "age workclass fnlwgt education education_num marital_status occupation relationship race sex capital_gain "
    "capital_loss hours_per_week native_country income"
)

_GERMAN = (
    "status duration credit_history purpose credit_amount savings present_employment installment_rate "
    "personal_status_sex other_debtors present_residence_since property age installment_plans housing "
    "existing_credits job people_liable telephone foreign_worker risk"
)

_CENSUS = (
    "age class_of_worker industry_code occupation_code education wage_per_hour enrolled_last_week marital_status "
    "major_industry major_occupation race hispanic_origin sex union_member reason_for_unemployment employment_status "
    "capital_gains capital_losses dividends tax_filer_status region_of_previous_residence state_of_previous_residence "
    "household_family_status household_summary instance_weight migration_change_in_msa migration_change_in_region "
    "migration_move_within_region lived_here_a_year_ago migration_from_sunbelt persons_worked_for_employer "
    "family_members_under_18 birth_country_father birth_country_mother birth_country_self citizenship "
    "own_business_or_self_employed veterans_questionnaire veterans_benefits weeks_worked year income"
)
_CENSUS_CODES = "industry_code occupation_code own_business_or_self_employed veterans_benefits year"

_COMPAS_KEPT = (
    "id sex age age_cat race juv_fel_count juv_misd_count juv_other_count priors_count days_b_screening_arrest "
    "c_days_from_compas c_charge_degree c_charge_desc two_year_recid"
)

_BIOPSY = (
    "clump_thickness cell_size cell_shape marginal_adhesion epithelial_cell_size bare_nuclei bland_chromatin "
    "normal_nucleoli mitoses"
)


def read_table_of(chosen: PublicSet, contents: Contents) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The table of a named set, with what was changed on the way."""
    reader = _TABLES.get(chosen.name, _keel)
    return reader(contents)


def read_arrays_of(chosen: PublicSet, contents: Contents) -> Records:
    """The records of a named set of arrays; ids are row numbers from 0."""
    return _ARRAYS[chosen.name](contents)


def _breast_cancer(contents: Contents) -> tuple[pd.DataFrame, tuple[str, ...]]:
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer(as_frame=True)
    frame: pd.DataFrame = bunch.data.copy()
    frame["diagnosis"] = np.asarray(bunch.target_names)[bunch.target]
    return frame, ()


def _adult(contents: Contents) -> tuple[pd.DataFrame, tuple[str, ...]]:
    frame = _stacked([contents["adult.data"], contents["adult.test"].partition(b"\n")[2]], _ADULT.split())
    frame["income"] = frame["income"].str.rstrip(".")  # the labels of the test part end in a dot
    note = "ids number the rows of adult.data (0 to 32560), then those of adult.test (32561 to 48841)"
    return frame, (
        note,
        "fnlwgt, a sampling weight, is kept as a feature; name it in drop, or as weight, if you prefer",
    )


def _census(contents: Contents) -> tuple[pd.DataFrame, tuple[str, ...]]:
    parts = [contents[f"census_income_1994_1995_{part}.csv"] for part in ("train", "test")]
    frame = _stacked(parts, _CENSUS.split())
    for name in _CENSUS_CODES.split():  # numbers that stand for kinds
        frame[name] = frame[name].astype(str)
    frame["income"] = frame["income"].map({"- 50000.": "<=50K", "50000+.": ">50K"})
    return frame, (
        "ids number the rows of the training part (0 to 199522), then those of the test part (199523 to 299284)",
        f"codes read as categories: {', '.join(_CENSUS_CODES.split())}",
        "instance_weight, a sampling weight, is kept as a feature; name it in drop, or as weight, if you prefer",
    )


def _stacked(parts: list[bytes], names: list[str]) -> pd.DataFrame:
    """Text tables without a header, one below the other; only ``?`` says "missing" (in one, "NA" is an answer)."""
    import pandas as pd

    frames = [
        pd.read_csv(
            io.BytesIO(part),
            names=names,
            header=None,
            skipinitialspace=True,
            index_col=False,
            na_values=["?"],
            keep_default_na=False,
            low_memory=False,
        )
        for part in parts
    ]
    return pd.concat(frames, ignore_index=True)


def _compas(contents: Contents) -> tuple[pd.DataFrame, tuple[str, ...]]:
    import pandas as pd

    frame = pd.read_csv(io.BytesIO(contents["compas-scores-two-years.csv"]), low_memory=False)
    return frame[_COMPAS_KEPT.split()], (
        "left out as identifying: names, case numbers, date of birth and all other dates",
        "left out because they are known only afterwards: everything about the new offence (is_recid, r_..., vr_..., "
        "violent_recid, is_violent_recid) and the follow-up (in_custody, out_custody, start, end, event)",
        "left out as the output of another model: the COMPAS scores (decile_score, score_text, v_...)",
        "all 7,214 rows are kept; ProPublica's own analysis drops 1,042 of them",
    )


def _german(contents: Contents) -> tuple[pd.DataFrame, tuple[str, ...]]:
    import pandas as pd

    frame = pd.read_csv(
        io.BytesIO(contents["german.data"]), names=_GERMAN.split(), header=None, sep=" ", index_col=False
    )
    frame["risk"] = frame["risk"].map({1: "good", 2: "bad"})
    return frame, ()


def _wisconsin(contents: Contents) -> tuple[pd.DataFrame, tuple[str, ...]]:
    frame = read_pickled_table(contents["biopsy.pkl.compress"])
    named = {"rownames": "row", "ID": "sample"} | {f"V{i + 1}": name for i, name in enumerate(_BIOPSY.split())}
    note = "the unit is the sample code: 645 different ones in 699 rows"
    return frame.rename(columns=named), (note,)


def _grants(contents: Contents) -> tuple[pd.DataFrame, tuple[str, ...]]:
    return read_pickled_table(contents["grants_other.pkl.compress"]), ()


def _keel(contents: Contents) -> tuple[pd.DataFrame, tuple[str, ...]]:
    import pandas as pd

    (data,) = contents.values()
    frame = pd.read_csv(io.BytesIO(data), header=None, skipinitialspace=True, low_memory=False, keep_default_na=False)
    frame.columns = pd.Index([*(f"v{i + 1}" for i in range(frame.shape[1] - 1)), "class"])
    if not pd.api.types.is_numeric_dtype(frame["class"]):
        frame["class"] = frame["class"].str.strip()
    return frame, ("columns have no names in the archive; records with missing values were removed by its makers",)


def _digits(contents: Contents) -> Records:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return _numbered(bunch.data, bunch.target)


def _mnist_5k(contents: Contents) -> Records:
    import pandas as pd

    table = pd.read_csv(io.BytesIO(contents["mnist_5k.csv.gz"]), header=None, dtype=np.uint8).to_numpy()
    pictures = np.ascontiguousarray(table[:, :-1]).reshape(-1, 28, 28)
    return _numbered(pictures, table[:, -1].astype(np.int64))


def _fashion_mnist(contents: Contents) -> Records:
    """The idx format: a header of 16 bytes before pictures, of 8 before labels, then one byte a number."""
    pictures = [contents[f"{part}-images-idx3-ubyte.gz"] for part in ("train", "t10k")]
    labels = [contents[f"{part}-labels-idx1-ubyte.gz"] for part in ("train", "t10k")]
    features = np.concatenate([np.frombuffer(p, np.uint8, offset=16).reshape(-1, 28, 28) for p in pictures])
    return _numbered(features, np.concatenate([np.frombuffer(b, np.uint8, offset=8) for b in labels]).astype(np.int64))


def _numbered(features: np.ndarray, labels: np.ndarray) -> Records:
    return Records(
        ids=np.arange(len(labels)), features=features, labels=labels, notes=("ids are row numbers, from 0 on",)
    )


_TABLES: dict[str, Callable[[Contents], tuple[Any, tuple[str, ...]]]] = {
    "breast_cancer": _breast_cancer,
    "adult": _adult,
    "compas": _compas,
    "german": _german,
    "wisconsin": _wisconsin,
    "census-income": _census,
    "grants": _grants,
}
_ARRAYS: dict[str, Callable[[Contents], Records]] = {
    "digits": _digits,
    "mnist-5k": _mnist_5k,
    "fashion-mnist": _fashion_mnist,
}
