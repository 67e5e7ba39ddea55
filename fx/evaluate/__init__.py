"""How good a model is: metrics, reports and pictures."""

from fx.evaluate import plots as plots
from fx.evaluate.ablation import Ablation as Ablation
from fx.evaluate.ablation import ablate as ablate
from fx.evaluate.metrics import accuracy as accuracy
from fx.evaluate.metrics import classification_metrics as classification_metrics
from fx.evaluate.metrics import confusion_matrix as confusion_matrix
from fx.evaluate.metrics import cross_entropy as cross_entropy
from fx.evaluate.metrics import perplexity as perplexity
from fx.evaluate.metrics import top_k_accuracy as top_k_accuracy
from fx.evaluate.report import ClassReport as ClassReport
from fx.evaluate.report import Report as Report
from fx.evaluate.report import classification_report as classification_report
from fx.evaluate.scores import Calibration as Calibration
from fx.evaluate.scores import PrecisionRecallF1 as PrecisionRecallF1
from fx.evaluate.scores import brier_score as brier_score
from fx.evaluate.scores import calibration as calibration
from fx.evaluate.scores import expected_calibration_error as expected_calibration_error
from fx.evaluate.scores import per_class_accuracy as per_class_accuracy
from fx.evaluate.scores import precision_recall_f1 as precision_recall_f1
from fx.evaluate.scores import roc_auc as roc_auc
from fx.evaluate.scores import softmax as softmax
from fx.evaluate.statistics import Comparison as Comparison
from fx.evaluate.statistics import Summary as Summary
from fx.evaluate.statistics import compare as compare
from fx.evaluate.statistics import holm as holm
from fx.evaluate.statistics import summarize as summarize
