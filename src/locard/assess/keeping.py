"""What has to be stored of models' answers for an audit, where that is not all of them (``compute.keep``)."""

from __future__ import annotations

from collections.abc import Sequence

from locard.assess.choose import Chosen
from locard.assess.screening import Screening
from locard.attacks.protocol import signals_of
from locard.errors import SettingsError
from locard.observe.kept import Kept
from locard.observe.signals import Correct, ScaledLogit

# accuracy, memorisation, exposure, described records: what an audit reads besides its attacks follows from these
ALWAYS = (Correct(), ScaledLogit())


def what_to_keep(
    chosen: Chosen, floor: float | None, classes: int, *, screening: Screening | None, asking: Sequence[str] = ()
) -> Kept:
    """The signals that an audit with these attacks reads; those of the headline at another probability floor as well.

    Args:
        chosen: the attacks, the headline first.
        floor: the recipe's probability floor; None for logits.
        classes: of the answers.
        screening: of the records, where there is one: it compares records by whole answers.
        asking: labels of attacks that ask networks instead of reading what is stored.

    Raises:
        SettingsError: with everything that reads whole answers.
    """
    reads = {label: signals_of(attack) for label, attack in chosen.attacks.items()}
    whole = [f"the attack {label}" for label, signals in reads.items() if signals is None]
    whole += [f"the attack {label}" for label in asking]
    if screening is not None and screening.trains:
        whole.append(f"the screen {screening.name} (of attacks that make claims)")
    if whole:
        raise SettingsError(
            f"compute.keep: whole answers must be stored for {', '.join(whole)}, found 'signals', which stores a few "
            f"numbers a record. Set compute.keep = 'logits', or leave them out."
        )
    wanted = [signal for signals in reads.values() for signal in signals or ()]
    return Kept.of([*ALWAYS, *wanted], floor, classes, again=reads[chosen.headline] or ())
