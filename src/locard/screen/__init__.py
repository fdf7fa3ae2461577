"""Which records are worth attacking: screens, one file each. No screen has a target to ask (docs/guide/screening.md).

A new screen is one file, one line here and one test file.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from locard.errors import SettingsError

if TYPE_CHECKING:
    import pandas as pd

    from locard.screen.protocol import Screen

SCREENS: dict[str, str] = {
    "neighbours": "neighbours:Neighbours",
    "reference_loss": "reference_loss:ReferenceLoss",
    "reference_spread": "reference_spread:ReferenceSpread",
    "loss_trace": "loss_trace:LossTrace",
    "memorisation": "memorisation:Memorisation",
    "combined": "combined:Combined",
    "random": "control:Random",
}


def screen(name: str, /, **settings: Any) -> Screen:
    """The screen of this name, with these settings and defaults for the others.

    Raises:
        SettingsError: an unknown name or setting (with the nearest one), or a value that is not allowed; all problems
            at once.

    >>> screen("neighbours", delta=0.2)  # doctest: +ELLIPSIS
    Neighbours(features='logits', centre='auto', delta=0.2, beta=None, share=0.001, search='exact', dimensions=64, ...)
    >>> screen("neighbors")
    Traceback (most recent call last):
    locard.errors.SettingsError: screen: unknown name 'neighbors'. Nearest: neighbours.
    """
    from locard.fields import setting_problems

    made = _made_by(name)
    problems = setting_problems(made, f"screen {name}", settings)
    if problems:
        raise SettingsError(problems)
    built: Screen = made(**settings)
    return built


def screen_names() -> list[str]:
    """The names that ``screen`` knows, in the order of the table.

    >>> screen_names()[:2]
    ['neighbours', 'reference_loss']
    """
    return list(SCREENS)


def list_screens() -> pd.DataFrame:
    """One row a screen: name, reads (what of the references), references (without a record, fewest), source.

    >>> list_screens().loc[1, ["name", "reads"]].tolist()
    ['reference_loss', 'losses']
    """
    import pandas as pd

    return pd.DataFrame([_row(name) for name in SCREENS])


def _made_by(name: str) -> Any:
    if name not in SCREENS:
        from locard.check import nearest

        raise SettingsError(f"screen: unknown name {name!r}. {nearest(str(name), SCREENS)}")
    module, attribute = SCREENS[name].split(":")
    return getattr(import_module(f"locard.screen.{module}"), attribute)


def _row(name: str) -> dict[str, Any]:
    import inspect

    made = _made_by(name)
    paragraphs = (inspect.getdoc(made) or "").split("\n\n")
    named = [p.partition("Source:")[2] for p in paragraphs if p.startswith("Source:")]
    return {
        "name": name,
        "reads": made().reads,
        "references": made().references,
        "source": " ".join(named[0].split()) if named else "",
    }
