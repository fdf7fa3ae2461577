"""``Plan``: which records are in which model's training set, and who plays which part."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Int64

from locard.errors import StoreMismatch
from locard.types import MemberMask

Role = Literal["both", "reference", "target"]
ROLES: tuple[Role, ...] = ("both", "reference", "target")


@dataclass(frozen=True, eq=False)
class Plan:
    """One row a model: the records it is trained on, its role, and its partner where it has one.

    - ``member`` is derived from ``train_index``, never stored beside it
    - a model's partner never serves as its reference

    Args:
        design: the function that drew it.
        audited: ``int64[audited]``, places of the audited records among all records.
        train_index: a model's training records (a multiset of places), one array a model.
        role: ``both`` plays target in turn and serves as reference for the others.
        partner: ``int64[models]``, -1 where a model has none.
    """

    design: str
    audited: Int64[np.ndarray, "audited"]
    train_index: tuple[np.ndarray, ...]
    role: tuple[Role, ...]
    partner: Int64[np.ndarray, "models"]

    def __len__(self) -> int:
        return len(self.train_index)

    @cached_property
    def member(self) -> MemberMask:
        """``bool[models, audited]``: which model was trained on which audited record."""
        mask = np.zeros((len(self), len(self.audited)), dtype=bool)
        places = 1 + max((int(i.max()) for i in (self.audited, *self.train_index) if len(i)), default=0)
        for model, index in enumerate(self.train_index):
            held = np.zeros(places, dtype=bool)
            held[index] = True
            mask[model] = held[self.audited]
        return mask

    @cached_property
    def targets(self) -> Int64[np.ndarray, "targets"]:
        """Models that play the target."""
        return np.array([m for m, role in enumerate(self.role) if role != "reference"], dtype=np.int64)

    @cached_property
    def references(self) -> Int64[np.ndarray, "references"]:
        """Models that serve as references."""
        return np.array([m for m, role in enumerate(self.role) if role != "target"], dtype=np.int64)

    @cached_property
    def pair(self) -> Int64[np.ndarray, "targets"]:
        """The statistical unit of each target: the smaller number of the two partners."""
        partner = self.partner[self.targets]
        return np.where(partner >= 0, np.minimum(partner, self.targets), self.targets)

    @property
    def pairs(self) -> int:
        """How many statistical units the targets make."""
        return len(np.unique(self.pair))

    @property
    def thin(self) -> bool:
        """Whether references must be thinned to equal numbers IN and OUT a record: every design but pairs."""
        return self.design in ("subsample", "coin_flips")

    def left_out(self, target: int) -> list[int]:
        """Models that may not serve as references of ``target``: itself and its partner."""
        partner = int(self.partner[target])
        return [target] if partner < 0 else [target, partner]

    def part(self, models: Sequence[int]) -> Plan:
        """The plan of some of its models, in this order; a partner that is not among them is none."""
        new = {int(model): place for place, model in enumerate(models)}
        return Plan(
            self.design,
            self.audited,
            tuple(self.train_index[m] for m in models),
            tuple(self.role[m] for m in models),
            np.array([new.get(int(self.partner[m]), -1) for m in models], dtype=np.int64),
        )

    def whole_pairs(self, models: Sequence[int]) -> list[int]:
        """Those of the models whose partner is among them too, or who have none."""
        there = {int(m) for m in models}
        return sorted(m for m in there if self.partner[m] < 0 or int(self.partner[m]) in there)

    def with_always(self, fixed: Int64[np.ndarray, "others"], *, copies: int = 1) -> Plan:
        """The same memberships, with these records in every model besides, and members there ``copies`` times.

        >>> plan = Plan("coin_flips", np.array([4, 5]), (np.array([4]),), ("both",), np.array([-1]))
        >>> [row.tolist() for row in plan.with_always(np.array([0, 9]), copies=2).train_index]
        [[0, 4, 4, 9]]
        """
        rows = tuple(np.sort(np.concatenate([np.repeat(row, copies), fixed])) for row in self.train_index)
        return Plan(self.design, self.audited, rows, self.role, self.partner)

    def with_burn_in(self, pairs: int) -> Plan:
        """The same models: those of the first pairs are references for good, all later ones only targets.

        >>> plan = Plan("pairs", np.array([4]), (np.array([4]), np.array([4])), ("both",) * 2, np.array([1, 0]))
        >>> plan.with_burn_in(0).role, plan.with_burn_in(1).role
        (('target', 'target'), ('reference', 'reference'))
        """
        first = min(2 * pairs, len(self))
        role: list[Role] = ["reference" if model < first else "target" for model in range(len(self))]
        return Plan(self.design, self.audited, self.train_index, tuple(role), self.partner)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of the plan."""
        h = hashlib.sha256(repr((self.design, self.role, self.partner.tolist())).encode())
        for index in (self.audited, *self.train_index):
            h.update(len(index).to_bytes(8, "little") + np.ascontiguousarray(index).tobytes())
        return h.hexdigest()

    def to_bytes(self) -> bytes:
        """The content of ``plan.safetensors``."""
        from safetensors.numpy import save

        sizes = np.array([len(i) for i in self.train_index], dtype=np.int64)
        empty = np.zeros(0, dtype=np.int64)
        data: bytes = save(
            {
                "audited": self.audited,
                "train_index": np.concatenate([empty, *self.train_index]),
                "sizes": sizes,
                "role": np.array([ROLES.index(r) for r in self.role], dtype=np.int64),
                "partner": self.partner,
            },
            metadata={"plan": json.dumps([self.design, self.fingerprint])},  # one key: several have no fixed order
        )
        return data

    @classmethod
    def from_file(cls, path: str) -> Plan:
        """Read ``plan.safetensors``.

        Raises:
            StoreMismatch: the file is damaged.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="numpy") as f:
                t = {k: f.get_tensor(k) for k in ("audited", "train_index", "sizes", "role", "partner")}
                design, said = json.loads(f.metadata()["plan"])
            index = tuple(np.split(t["train_index"], np.cumsum(t["sizes"])[:-1]))
            plan = cls(design, t["audited"], index, tuple(ROLES[r] for r in t["role"]), t["partner"])
            whole = plan.fingerprint == said and [len(i) for i in index] == t["sizes"].tolist()
        except (SafetensorError, OSError, KeyError, TypeError, IndexError, ValueError) as damaged:
            raise StoreMismatch(
                f"A whole plan file is needed, but {path} cannot be read ({damaged}). Remove it and run again."
            ) from damaged
        if not whole:
            raise StoreMismatch(f"A whole plan file is needed, but {path} is damaged. Remove it and run again.")
        return plan

    def __repr__(self) -> str:
        return f"Plan({self.design}: {len(self)} models, {len(self.audited)} audited records)"
