"""Which attacks can run on this plan. An attack that cannot is refused or listed before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Any

import numpy as np

from locard.attacks import ATTACKS, CLAIMING, attack_of
from locard.attacks import attack as build_attack
from locard.attacks.protocol import Attack
from locard.check import Problems
from locard.errors import AccessDenied, NotEnoughReferences, SettingsError
from locard.observe.traces import KINDS
from locard.plan.plan import Plan
from locard.result import NotRun
from locard.settings import AttackSettings

ALL_TRACES = dict.fromkeys(KINDS, "")


@dataclass(frozen=True)
class Chosen:
    """Attacks by label, the headline first, and those left out with the reason.

    ``late``: those of them for which only the time was not enough, so that the policy cannot be passed without them.
    """

    attacks: dict[str, Attack]
    names: dict[str, str]
    not_run: tuple[NotRun, ...]
    late: tuple[str, ...] = ()

    @property
    def traces(self) -> frozenset[str]:
        """The traces that some attack reads."""
        return frozenset(name for attack in self.attacks.values() for name in attack.needs.traces)

    @property
    def headline(self) -> str:
        """The declared headline's label."""
        return next(iter(self.attacks))


def build_attacks(wanted: tuple[AttackSettings, ...] | list[Any]) -> list[tuple[str, Attack]]:
    """Attack objects from settings (or objects as they are), every problem told at once.

    Raises:
        SettingsError: unknown names or settings, or objects that are no attack.
    """
    problems = Problems()
    built: list[tuple[str, Attack]] = []
    for item in wanted:
        with problems.gather():
            if isinstance(item, AttackSettings):
                built.append((item.name, build_attack(item.name, **item.own)))
            elif isinstance(item, str):
                built.append((item, build_attack(item)))
            elif isinstance(item, Mapping):
                built.append((str(item.get("name", "")), attack_of(item)))
            else:
                built.append((registered_name(item), _an_attack(item)))
    labels = [label(name, attack) for name, attack in built]
    for twice in sorted({x for x in labels if labels.count(x) > 1}):
        problems.add(f"attack: each is needed once, found {twice!r} more than once. Remove one or change its settings.")
    problems.settle()
    return built


def runnable(
    built: list[tuple[str, Attack]], plan: Plan, population: int, traces: Mapping[str, str] | None = None
) -> Chosen:
    """Split the attacks into those that this plan can serve and those it cannot.

    ``traces``: those that can be had, with no text, and why others cannot.

    Raises:
        NotEnoughReferences: the headline attack cannot run: nothing was trained yet.
    """
    inside, outside = fewest_references(plan)
    attacks: dict[str, Attack] = {}
    names: dict[str, str] = {}
    left_out = []
    for place, (name, attack) in enumerate(built):
        missing = attack.needs.missing(inside=inside, outside=outside, population=population, traces=traces)
        if missing is None:
            attacks[label(name, attack)] = attack
            names[label(name, attack)] = name
        elif place == 0:
            if attack.needs.missing(inside=inside, outside=outside, population=population, traces=ALL_TRACES) is None:
                raise AccessDenied(f"The headline attack {name} {missing}. Declare another attack as the first.")
            raise NotEnoughReferences(
                f"The headline attack {name} {missing} (plan {plan.design!r} with {len(plan)} models). Ask for more "
                f"models, another plan, or declare another attack as the first."
            )
        else:
            left_out.append(NotRun(name=label(name, attack), reason=f"{missing} (plan {plan.design!r})"))
    return Chosen(attacks, names, tuple(left_out))


def tree_given(
    name: str, seed: int, attacks: Sequence[Any] | None, sections: Mapping[str, Any], *, models: int | None
) -> dict[str, Any]:
    """The settings that Python's arguments stand for, as plain values; nothing is checked.

    Args:
        name, seed: as in the settings.
        attacks: names, tables or objects; None for the default.
        sections: the other sections by name.
        models: of ``[references]``; None where models were trained elsewhere.
    """
    tree: dict[str, Any] = {"name": name, "seed": seed, "data": {"source": "records in memory"}}
    tree |= {"references": {} if models is None else {"models": models}, "target": {}}
    if attacks is not None:
        tree["attack"] = [a if isinstance(a, str | Mapping) else as_settings(a) for a in attacks]
    for section, given in sections.items():
        tree[section] = tree.get(section, {}) | dict(given) if isinstance(given, Mapping) else given
    return tree


def fewest_references(plan: Plan) -> tuple[int, int]:
    """Fewest IN and OUT references that any target will see for any record, known from the plan alone."""
    if not len(plan.references):
        return 0, 0
    total = plan.member[plan.references].sum(axis=0)
    fewest_in, fewest_out = len(plan), len(plan)
    for target in plan.targets:
        gone = [m for m in plan.left_out(int(target)) if m in plan.references]
        inside = total - plan.member[gone].sum(axis=0)
        outside = len(plan.references) - len(gone) - inside
        if plan.thin:
            inside = outside = np.minimum(inside, outside)
        fewest_in, fewest_out = min(fewest_in, int(inside.min())), min(fewest_out, int(outside.min()))
    return fewest_in, fewest_out


def registered_name(attack: Any) -> str:
    """The name that an attack object is registered under; for a user's own class, its name in small letters.

    >>> registered_name(build_attack("attack_r"))
    'attack_r'
    """
    kind = type(attack)
    for name, place in (ATTACKS | CLAIMING).items():
        module, _, attribute = place.partition(":")
        if (kind.__module__, kind.__qualname__) == (f"locard.attacks.{module}", attribute):
            return name
    return kind.__name__.lower()


def as_settings(attack: Any) -> dict[str, Any]:
    """An attack object as the settings that would build it, for ``result.json``.

    >>> as_settings(build_attack("lira", offline=True))
    {'name': 'lira', 'variance': 'student', 'offline': True}
    """
    values = {f.name: getattr(attack, f.name) for f in fields(_an_attack(attack))}  # type: ignore[arg-type]
    return {"name": registered_name(attack), **{k: _plain(v) for k, v in values.items()}}


def _plain(value: Any) -> Any:
    """A setting as TOML and JSON have it; an attack inside an attack as its own settings."""
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return as_settings(value) if isinstance(value, Attack) else repr(value)


def _an_attack(thing: Any) -> Attack:
    if isinstance(thing, type) or not is_dataclass(thing) or not isinstance(thing, Attack):
        raise SettingsError(
            f"attack: a name or an attack object is needed, found {thing!r}. Give, for example, 'lira' or "
            f"attack('lira', variance='pooled')."
        )
    return thing


def label(name: str, attack: Attack) -> str:
    """The attack's name with the settings that differ from its defaults.

    >>> label("lira", build_attack("lira", offline=True))
    'lira(offline=True)'
    """
    changed = []
    for f in fields(attack):  # type: ignore[arg-type]
        default = f.default_factory() if f.default_factory is not MISSING else f.default
        if (value := getattr(attack, f.name)) != default:
            changed.append(f"{f.name}={value}")
    return f"{name}({', '.join(changed)})" if changed else name
