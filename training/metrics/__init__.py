"""How good a classifier is, with how much doubt: NumPy and scikit-learn, no TensorFlow."""

from training.metrics.calibration import (
    Reliability,
    calibrated_log_loss,
    ece,
    fit_temperature,
    fit_unknown_threshold,
    log_softmax,
    negative_log_likelihood,
    reliability,
    softmax,
)
from training.metrics.counts import (
    ClassScores,
    accuracy,
    balanced_accuracy,
    class_scores,
    confusion_matrix,
    macro_f1,
)
from training.metrics.curves import Curve, area_under_roc, average_precision, pr_curve, roc_curve
from training.metrics.intervals import (
    Interval,
    group_bootstrap_interval,
    paired_difference_interval,
    wilson_interval,
)

__all__ = [
    "ClassScores",
    "Curve",
    "Interval",
    "Reliability",
    "accuracy",
    "area_under_roc",
    "average_precision",
    "balanced_accuracy",
    "calibrated_log_loss",
    "class_scores",
    "confusion_matrix",
    "ece",
    "fit_temperature",
    "fit_unknown_threshold",
    "group_bootstrap_interval",
    "log_softmax",
    "macro_f1",
    "negative_log_likelihood",
    "paired_difference_interval",
    "pr_curve",
    "reliability",
    "roc_curve",
    "softmax",
    "wilson_interval",
]
