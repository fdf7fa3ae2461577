"""From the section ``[target]``, or from what Python hands over, to the recipe that it means."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from locard.check import Problems, nearest
from locard.settings import NETWORK_KEYS, TargetSettings
from locard.train.function_recipe import FunctionRecipe
from locard.train.neural.recipe import TorchRecipe
from locard.train.recipe import Recipe, SklearnRecipe

Maker = Callable[[TargetSettings, Path, str], Recipe]


@runtime_checkable
class Checkable(Protocol):
    """A recipe that can say what is wrong with it before anything is trained."""

    def check(self, *, weights: bool = False) -> None:
        """Refuse what cannot be trained or asked; ``weights`` where the data has training weights."""
        ...


def _sklearn(target: TargetSettings, base: Path, device: str) -> Recipe:
    return SklearnRecipe(
        estimator=target.estimator, params=target.params, preprocess=target.preprocess, folder=str(base.resolve())
    )


def _function(target: TargetSettings, base: Path, device: str) -> Recipe:
    return FunctionRecipe(
        path=target.recipe,
        params=target.params,
        preprocess=target.preprocess,
        answers=target.answers,
        folder=str(base.resolve()),
        device=device,
    )


def _torch(target: TargetSettings, base: Path, device: str) -> Recipe:
    named = {k: getattr(target, k) for k in ("momentum", "weight_decay", "nesterov", "betas", "eps")}
    own = {k: getattr(target, k) for k in NETWORK_KEYS if k not in (*named, "optimizer_params")}
    return TorchRecipe(
        **own,
        params=target.params,
        optimizer_params=target.optimizer_params | {k: v for k, v in named.items() if v is not None},
        preprocess=target.preprocess,
        folder=str(base.resolve()),
    )


RECIPES: dict[str, Maker] = {"sklearn": _sklearn, "torch": _torch}  # any other name has a colon: "module:function"


def recipe_of(target: TargetSettings, base: Path, *, weights: bool = False, device: str = "cpu") -> Recipe:
    """The recipe that the settings mean, checked.

    Args:
        target: the section.
        base: the folder in which modules of the user's own are looked for first.
        weights: whether the data has training weights.
        device: where training functions are told to train.

    Raises:
        SettingsError: an unknown recipe (with the nearest name), keys of another one, or what the recipe refuses.

    >>> recipe_of(TargetSettings(params={"n_estimators": 5}), Path()).name
    'RandomForestClassifier(n_estimators=5)'
    """
    problems, kind = Problems(), target.kind
    if kind != "module:function" and kind not in RECIPES:
        problems.add(
            f"target.recipe: {', '.join(map(repr, RECIPES))} or 'module:function' is needed, found {kind!r}. "
            f"{nearest(kind, RECIPES)}"
        )
        problems.settle()
    for key, owner in target.foreign.items():
        problems.add(
            f"target.{key}: it belongs to recipe {owner!r}, found with recipe {target.recipe!r}. Leave it out, or set "
            f"target.recipe."
        )
    recipe = RECIPES.get(kind, _function)(target, base, device)
    with problems.gather():
        check(recipe, weights=weights)
    problems.settle()
    return recipe


def recipe_given(thing: Any, target: Mapping[str, Any], *, weights: bool = False) -> Recipe:
    """The recipe that a Python caller means, checked: a recipe, an unfitted estimator, or a training function.

    Args:
        thing: what was given.
        target: the caller's section ``target``: ``preprocess`` is read, and a function's ``params`` and ``answers``.
        weights: whether the data has training weights.

    Raises:
        SettingsError: it is none of these, or what the recipe refuses.
    """
    preprocess = target.get("preprocess", "auto")
    if isinstance(thing, Recipe):
        recipe: Recipe = thing
    elif inspect.isroutine(thing):
        answers, params = target.get("answers", "probabilities"), target.get("params")
        recipe = FunctionRecipe.of(thing, params=params, preprocess=preprocess, answers=answers)
    else:
        recipe = SklearnRecipe.of(thing, preprocess=preprocess)
    check(recipe, weights=weights)
    return recipe


def check(recipe: Recipe, *, weights: bool) -> None:
    """What the recipe itself refuses, where it can say so before training.

    Raises:
        SettingsError: from the recipe.
    """
    if isinstance(recipe, Checkable):
        recipe.check(weights=weights)


def written_down(recipe: Recipe) -> dict[str, Any]:
    """A recipe as the section ``target`` of the settings."""
    match recipe:
        case SklearnRecipe():
            return {"estimator": recipe.estimator, "params": dict(recipe.params), "preprocess": recipe.preprocess}
        case FunctionRecipe():
            given = {"params": dict(recipe.params), "preprocess": recipe.preprocess, "answers": recipe.answers}
            return {"recipe": recipe.path, **given}
        case TorchRecipe():
            own = {k: getattr(recipe, k) for k in NETWORK_KEYS if hasattr(recipe, k)}
            own |= {k: v if isinstance(v, str) else v.__qualname__ for k, v in own.items() if k in ("module", "loss")}
            return {"recipe": "torch", **own, "params": dict(recipe.params), "preprocess": recipe.preprocess}
        case _:
            return {"estimator": recipe.name}
