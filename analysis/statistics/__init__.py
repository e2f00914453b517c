"""Statistics of evaluations: errors, intervals, power, comparisons, corrections. Pure functions that import nothing
else of agentlab.

A value that is not defined (the error of a single item, pass@5 of three trials) is NaN, never a convenient number.
Scores are per item: where an item was run several times (epochs), its score is the mean over them. numpy and scipy
are imported on use.
"""

from agentlab.analysis.statistics.bootstrap import bootstrap, bootstrap_of_sums
from agentlab.analysis.statistics.comparison import (
    Difference,
    Equivalence,
    Pairs,
    difference_interval,
    equivalence,
    mcnemar,
    newcombe,
    noninferiority,
    pair,
    paired_difference,
    sign_test,
)
from agentlab.analysis.statistics.intervals import (
    Estimate,
    bounds,
    clopper_pearson,
    clustered_se,
    is_nothing,
    mean_interval,
    mean_se,
    t_interval,
    wilson,
)
from agentlab.analysis.statistics.multiplicity import benjamini_hochberg, holm
from agentlab.analysis.statistics.power import items_needed, mde80, mde_paired
from agentlab.analysis.statistics.repeats import (
    VarianceParts,
    design_effect,
    icc,
    pass_at_k,
    pass_at_k_each,
    pass_hat_k,
    pass_hat_k_each,
    variance_parts,
)

__all__ = [
    "Difference",
    "Equivalence",
    "Estimate",
    "Pairs",
    "VarianceParts",
    "benjamini_hochberg",
    "bootstrap",
    "bootstrap_of_sums",
    "bounds",
    "clopper_pearson",
    "clustered_se",
    "design_effect",
    "difference_interval",
    "equivalence",
    "holm",
    "icc",
    "is_nothing",
    "items_needed",
    "mcnemar",
    "mde80",
    "mde_paired",
    "mean_interval",
    "mean_se",
    "newcombe",
    "noninferiority",
    "pair",
    "paired_difference",
    "pass_at_k",
    "pass_at_k_each",
    "pass_hat_k",
    "pass_hat_k_each",
    "sign_test",
    "t_interval",
    "variance_parts",
    "wilson",
]
