"""What scores say, with stated error rates: pure functions of arrays. docs/estimands.md says what each number means.

- ``estimates``: ``measure``, everything about one attack's saved scores
- ``curves``, ``sorting``, ``summaries``: ROC, AUC, balanced accuracy; all points of one target from one sort
- ``rates``: TPR at a small FPR: conformal threshold, one target's exact interval, what can be resolved
- ``intervals``: exact intervals of counts, t over pairs, one target's AUC
- ``contrasts``, ``verdicts``, ``power``: per-record tests, grades, and what a design can name
- ``needs``: how many pairs a wanted width or a limit needs, from a pilot
- ``groups``, ``compare``, ``policy``: per group, attack against attack, pass or fail
- ``epsilon``, ``one_run``, ``many_runs``: lower bounds on epsilon from one training run and from independent ones
- ``sequential``: what may be said while pairs still arrive and one looks after each
- ``permutation``, ``multiplicity``: redrawn plans, adjusted p-values
- ``pvalues``, ``tails``, ``combine``: one record against references that did not see it; many queries in one p-value
- ``calibration``, ``fdr``, ``uniformity``: p-values that hold on known non-members, claims, and checks of both
- ``ratios``: precision, recall and realised FPR over targets
"""

from locard.stats.calibration import (
    calibration_needed,
    finest_bin,
    fpr_given_calibration,
    guarantee,
    p_by_category,
    p_calibrated,
    selected_alike,
    sure_calibration_rank,
)
from locard.stats.combine import (
    Combined,
    combined_by_permutation,
    half_swapped,
    kost,
    query_correlation,
    twice_the_mean,
)
from locard.stats.compare import Comparison, adjusted_together, compare_all, paired_difference
from locard.stats.contrasts import competition_threshold, p_hit, signed_rank, twin_competition, wins
from locard.stats.curves import Roc, auc, auc_many, balanced_accuracy, log_grid, precision, roc
from locard.stats.epsilon import epsilon_lower_bound, log_e_process
from locard.stats.estimates import Measurement, measure
from locard.stats.fdr import adjusted, calibration_to_claim, fewest_claims, merged, merged_adjusted
from locard.stats.groups import group_estimates
from locard.stats.intervals import (
    LEAST_TRUE_POSITIVES,
    assumption_free_upper,
    auc_one_target,
    balanced_accuracy_one_target,
    clopper_pearson,
    pair_means,
    t_over_pairs,
    tpr_estimate,
)
from locard.stats.many_runs import (
    credible_epsilon,
    epsilon_from_rates,
    epsilon_over_thresholds,
    gdp_from_rates,
    gdp_over_thresholds,
)
from locard.stats.multiplicity import benjamini_hochberg, benjamini_yekutieli, holm, holm_rejections
from locard.stats.needs import Need, Prospect, looks_to_settle, pairs_for_width, prospect
from locard.stats.one_run import (
    epsilon_from_guesses,
    epsilon_of_gdp,
    epsilon_on_grid,
    gdp_from_guesses,
    gdp_on_grid,
    gdp_rejected,
    guess_grid,
    steinke_p,
)
from locard.stats.permutation import permutation_p
from locard.stats.policy import (
    AttackEvidence,
    ExposedLimit,
    Gate,
    LimitCheck,
    LimitOutcome,
    Outcome,
    gate,
    max_interval,
    paid_confidence,
    pairs_to_settle,
)
from locard.stats.power import audited_for, nameable_rate, pairs_to_name, smallest_nameable
from locard.stats.pvalues import p_pchip, p_rank, p_rank_randomised, p_tail, with_tail_model
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
from locard.stats.ratios import ratio_over_pairs
from locard.stats.sequential import (
    LEAST_RATE_PAIRS,
    SEQUENCE_METHOD,
    Sequence,
    Track,
    confidence_sequence,
    fewest_pairs_to_pass,
    log_bets,
    mixture_t_width,
    settled,
)
from locard.stats.sorting import SortedScores, conformal_rank, sort_scores
from locard.stats.summaries import TargetSummary, summarise
from locard.stats.tails import log_predictive_tail, log_student_tail
from locard.stats.uniformity import RateCheck, check_rate, hits_law, hits_range, same_law
from locard.stats.verdicts import Dependence, Grade, Grades, fcr_intervals, grade

__all__ = [
    "LEAST_RATE_PAIRS",
    "LEAST_TRUE_POSITIVES",
    "SEQUENCE_METHOD",
    "AttackEvidence",
    "Combined",
    "Comparison",
    "Dependence",
    "ExposedLimit",
    "Gate",
    "Grade",
    "Grades",
    "LimitCheck",
    "LimitOutcome",
    "Measurement",
    "Need",
    "Outcome",
    "Prospect",
    "RateCheck",
    "Resolution",
    "Roc",
    "Sequence",
    "SortedScores",
    "TargetSummary",
    "Track",
    "adjusted",
    "adjusted_together",
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
    "calibration_needed",
    "calibration_to_claim",
    "check_rate",
    "clopper_pearson",
    "combined_by_permutation",
    "compare_all",
    "competition_threshold",
    "confidence_sequence",
    "conformal_rank",
    "conformal_threshold",
    "credible_epsilon",
    "epsilon_from_guesses",
    "epsilon_from_rates",
    "epsilon_lower_bound",
    "epsilon_of_gdp",
    "epsilon_on_grid",
    "epsilon_over_thresholds",
    "fcr_intervals",
    "fewest_claims",
    "fewest_pairs_to_pass",
    "finest_bin",
    "fpr_given_calibration",
    "gate",
    "gdp_from_guesses",
    "gdp_from_rates",
    "gdp_on_grid",
    "gdp_over_thresholds",
    "gdp_rejected",
    "grade",
    "group_estimates",
    "guarantee",
    "guess_grid",
    "half_swapped",
    "hits_law",
    "hits_range",
    "holm",
    "holm_rejections",
    "kost",
    "log_bets",
    "log_e_process",
    "log_grid",
    "log_predictive_tail",
    "log_student_tail",
    "looks_to_settle",
    "max_interval",
    "measure",
    "merged",
    "merged_adjusted",
    "mixture_t_width",
    "nameable_rate",
    "needed_non_members",
    "one_target_box",
    "p_by_category",
    "p_calibrated",
    "p_hit",
    "p_pchip",
    "p_rank",
    "p_rank_randomised",
    "p_tail",
    "paid_confidence",
    "pair_means",
    "paired_difference",
    "pairs_for_width",
    "pairs_to_name",
    "pairs_to_settle",
    "permutation_p",
    "precision",
    "prospect",
    "query_correlation",
    "ratio_over_pairs",
    "realised_fpr",
    "resolution",
    "roc",
    "same_law",
    "selected_alike",
    "settled",
    "signed_rank",
    "smallest_nameable",
    "sort_scores",
    "steinke_p",
    "summarise",
    "sure_calibration_rank",
    "t_over_pairs",
    "tpr_at_fpr",
    "tpr_estimate",
    "twice_the_mean",
    "twin_competition",
    "wins",
    "with_tail_model",
]
