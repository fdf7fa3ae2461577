"""The four designs. Membership moves by privacy unit, and every row is drawn from a seed of its own name, so that
asking for more models keeps those that exist."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64

from locard.data.records import Records
from locard.errors import SettingsError
from locard.plan.plan import Plan, Role
from locard.seeds import Seed

DESIGNS = ("pairs", "subsample", "coin_flips", "out_only")


def pairs(records: Records, audited: Int64[np.ndarray, "audited"], *, models: int, seed: Seed) -> Plan:
    """``models / 2`` complementary pairs: row 2i a fair coin for every unit, row 2i+1 its complement.

    - a model's partner is its exact complement on the audited records
    - every membership in a row is an independent fair coin, by unit
    - the same seed gives the same plan; more models keep the first ones

    Raises:
        SettingsError: ``models`` is odd or below 2.

    >>> r = Records(ids=range(6), features=np.zeros((6, 1)), labels=[0, 1] * 3)
    >>> plan = pairs(r, np.arange(6), models=4, seed=Seed(7))
    >>> bool((plan.member[0] ^ plan.member[1]).all()), plan.partner.tolist()
    (True, [1, 0, 3, 2])
    """
    if models < 2 or models % 2:
        raise SettingsError(
            f"references.models: an even number of at least 2 is needed for plan 'pairs' (a model and its "
            f"complement), found {models}. Ask for {max(2, models + models % 2)}."
        )
    rows = []
    for i in range(models // 2):
        coin = _coins(records, seed.child("pairs", i))[audited]
        rows += [audited[coin], audited[~coin]]
    partner = np.arange(models, dtype=np.int64) ^ 1
    return Plan("pairs", audited, tuple(rows), _roles("both", models), partner)


def coin_flips(records: Records, audited: Int64[np.ndarray, "audited"], *, models: int, seed: Seed) -> Plan:
    """Independent fair coins for every (model, unit): one-run audits with ``models = 1``.

    - every membership is an independent fair coin, by unit; no model has a partner
    """
    rows = tuple(audited[_coins(records, seed.child("coin_flips", i))[audited]] for i in range(models))
    return Plan("coin_flips", audited, rows, _roles("both", models), np.full(models, -1, dtype=np.int64))


def subsample(
    records: Records, audited: Int64[np.ndarray, "audited"], *, models: int, fraction: float, seed: Seed
) -> Plan:
    """Independent draws of ``fraction`` of the units, without replacement: for a released model trained on that share.

    - every row holds round(fraction x units) units; rows are independent of each other
    """
    units = np.unique(records.units[audited])
    size = round(fraction * len(units))
    if not 0 < size < len(units):
        raise SettingsError(
            f"references.fraction: a share strictly between 0 and 1 that leaves units on both sides is needed, "
            f"found {fraction} of {len(units)} units. Choose, for example, 0.8."
        )
    rows = []
    for i in range(models):
        drawn = seed.child("subsample", i).generator().permutation(units)[:size]
        rows.append(audited[np.isin(records.units[audited], drawn)])
    return Plan("subsample", audited, tuple(rows), _roles("both", models), np.full(models, -1, dtype=np.int64))


def out_only(
    records: Records,
    audited: Int64[np.ndarray, "audited"],
    *,
    models: int,
    targets: int,
    outside: Int64[np.ndarray, "outside"],
    size: int,
    replace: bool,
    seed: Seed,
) -> Plan:
    """References drawn from records disjoint from the audited ones (an outsider's); targets are pairs of their own.

    - no reference holds an audited record
    - targets come in complementary pairs over the audited records

    Args:
        outside: places of the records that references are drawn from.
        size: training records a reference (drawn by unit until ``size`` records are reached).
        replace: draw with replacement (a bootstrap, as in GMIA) or without.

    Raises:
        SettingsError: too few outside records, or an odd number of targets.
    """
    needed = 2 if replace else max(size, 2)
    if len(outside) < needed:
        way_out = "" if replace else ", or draw with replacement (references.replace = true)"
        raise SettingsError(
            f"references.size: {needed} records outside the audited ones and the population are needed, found "
            f"{len(outside)}. Lower data.pool or references.size{way_out}."
        )
    played = pairs(records, audited, models=targets, seed=seed) if targets else None
    rows: list[np.ndarray] = []
    for i in range(models):
        rng = seed.child("out_only", i).generator()
        if replace:
            rows.append(np.sort(outside[rng.integers(len(outside), size=size)]))
            continue
        order = rng.permutation(np.unique(records.units[outside]))
        rank = np.empty(records.n_units, dtype=np.int64)
        rank[order] = np.arange(len(order))
        by_unit = outside[np.argsort(rank[records.units[outside]], kind="stable")]
        rows.append(np.sort(by_unit[:size]))
    target_rows = played.train_index if played else ()
    partner = np.concatenate([np.full(models, -1), (np.arange(targets) ^ 1) + models]).astype(np.int64)
    role = _roles("reference", models) + _roles("target", targets)
    return Plan("out_only", audited, (*rows, *target_rows), role, partner)


def _coins(records: Records, seed: Seed) -> np.ndarray:
    """A fair coin a unit, spread over its records: bool[all records]."""
    units = records.n_units
    bits = np.frombuffer(seed.generator().bytes((units + 7) // 8), dtype=np.uint8)
    coins = np.unpackbits(bits, count=units).view(bool)
    return coins if units == len(records) else coins[records.units]


def _roles(role: Role, models: int) -> tuple[Role, ...]:
    return (role,) * models
