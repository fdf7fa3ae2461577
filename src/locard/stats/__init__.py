"""What scores say, with stated error rates: pure functions of arrays. docs/estimands.md says what each number means.

- ``estimates``: ``measure``, everything about one attack's saved scores
- ``curves``, ``sorting``, ``summaries``: ROC, AUC, balanced accuracy; all points of one target from one sort
- ``rates``: TPR at a small FPR: conformal threshold, one target's exact interval, what can be resolved
- ``intervals``: exact intervals of counts, t over pairs, one target's AUC
- ``contrasts``, ``verdicts``, ``power``: per-record tests, grades, and what a design can name
- ``groups``, ``compare``, ``policy``: per group, attack against attack, pass or fail
- ``epsilon``, ``permutation``, ``multiplicity``: a lower bound on epsilon, redrawn plans, adjusted p-values
"""

from locard.stats.compare import Comparison, compare_all, paired_difference
from locard.stats.contrasts import competition_threshold, p_hit, signed_rank, twin_competition, wins
from locard.stats.curves import Roc, auc, auc_many, balanced_accuracy, log_grid, precision, roc
from locard.stats.epsilon import epsilon_lower_bound, log_e_process
from locard.stats.estimates import Measurement, measure
from locard.stats.groups import group_estimates
from locard.stats.intervals import (
    assumption_free_upper,
    auc_one_target,
    balanced_accuracy_one_target,
    clopper_pearson,
    pair_means,
    t_over_pairs,
    tpr_estimate,
)
from locard.stats.multiplicity import benjamini_hochberg, benjamini_yekutieli, holm, holm_rejections
from locard.stats.permutation import permutation_p
from locard.stats.policy import (
    AttackEvidence,
    ExposedLimit,
    Gate,
    LimitCheck,
    LimitOutcome,
    gate,
    max_interval,
    paid_confidence,
    pairs_to_settle,
)
from locard.stats.power import audited_for, nameable_rate, smallest_nameable
from locard.stats.rates import (
    Resolution,
    box_ranks,
    conformal_threshold,
    needed_non_members,
    one_target_box,
    realised_fpr,
    resolution,
    tpr_at_fpr,
)
from locard.stats.sorting import SortedScores, conformal_rank, sort_scores
from locard.stats.summaries import TargetSummary, summarise
from locard.stats.verdicts import Dependence, Grade, Grades, fcr_intervals, grade

__all__ = [
    "AttackEvidence",
    "Comparison",
    "Dependence",
    "ExposedLimit",
    "Gate",
    "Grade",
    "Grades",
    "LimitCheck",
    "LimitOutcome",
    "Measurement",
    "Resolution",
    "Roc",
    "SortedScores",
    "TargetSummary",
    "assumption_free_upper",
    "auc",
    "auc_many",
    "auc_one_target",
    "audited_for",
    "balanced_accuracy",
    "balanced_accuracy_one_target",
    "benjamini_hochberg",
    "benjamini_yekutieli",
    "box_ranks",
    "clopper_pearson",
    "compare_all",
    "competition_threshold",
    "conformal_rank",
    "conformal_threshold",
    "epsilon_lower_bound",
    "fcr_intervals",
    "gate",
    "grade",
    "group_estimates",
    "holm",
    "holm_rejections",
    "log_e_process",
    "log_grid",
    "max_interval",
    "measure",
    "nameable_rate",
    "needed_non_members",
    "one_target_box",
    "p_hit",
    "paid_confidence",
    "pair_means",
    "paired_difference",
    "pairs_to_settle",
    "permutation_p",
    "precision",
    "realised_fpr",
    "resolution",
    "roc",
    "signed_rank",
    "smallest_nameable",
    "sort_scores",
    "summarise",
    "t_over_pairs",
    "tpr_at_fpr",
    "tpr_estimate",
    "twin_competition",
    "wins",
]
