"""What a model that did not see the record would say, beyond anything its references said: Student's tail."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Shaped
from scipy.special import betainc, betaln

TAIL_MODEL = "Student's t with k - 1 degrees of freedom: one more draw beside k normal ones of unknown mean and spread"
_FARTHEST = 1e150  # its square is a float64


def log_student_tail(
    t: Shaped[np.ndarray, "*places"], freedom: float | Shaped[np.ndarray, "..."]
) -> Float64[np.ndarray, "*places"]:
    """Logarithm of P(T > t), T Student's t with ``freedom`` degrees; where the beta function underflows, its main term.

    It goes on falling where the tail itself is 0 in float64, so that the surest records do not tie.

    >>> log_student_tail(np.array([0.0, 2.0, 1e40]), 3).round(4).tolist()
    [-0.6931, -2.6641, -276.2125]
    """
    clipped = np.clip(t, -_FARTHEST, _FARTHEST)
    a = 0.5 * np.asarray(freedom, dtype=np.float64)
    x = 2 * a / (2 * a + clipped * clipped)
    beyond = 0.5 * betainc(a, 0.5, x)  # probability beyond |t| on one side
    tiny = beyond < 1e-290
    leading = np.log(0.5) + a * np.log(x) - np.log(a) - betaln(a, 0.5)
    upper = np.where(tiny, leading, np.log(np.where(tiny, 1.0, beyond)))
    return np.where(clipped > 0, upper, np.log1p(-beyond))


def log_predictive_tail(
    value: Shaped[np.ndarray, "*places"],
    *,
    mean: Shaped[np.ndarray, "*places"],
    spread: Shaped[np.ndarray, "*places"],
    count: Shaped[np.ndarray, "..."],
) -> Float64[np.ndarray, "*places"]:
    """log p_tail: chance that one more model exceeds ``value``, if ``count`` models have this mean and spread (ddof 1).

    - the exponential is uniform on [0, 1] if the signals of models without the record are normal, whatever their mean
      and spread; it is wrong by a factor where they are not, and the factor grows with the distance

    ``count`` is 2 or more, ``spread`` above 0.

    >>> args = {"mean": np.array([1.5]), "spread": np.array([1.2909944]), "count": np.array([4])}
    >>> np.exp(log_predictive_tail(np.array([5.0]), **args)).round(7).tolist()
    [0.0468796]
    """
    z = (value - mean) / (spread * np.sqrt(1.0 + 1.0 / count))
    return log_student_tail(z, count - 1)
