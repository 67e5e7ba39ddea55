"""What to reach for when a run goes wrong."""

from fx.debug.crash import load_crash as load_crash
from fx.debug.crash import save_crash as save_crash
from fx.debug.diagnostics import gradient_norms as gradient_norms
from fx.debug.diagnostics import histograms as histograms
from fx.debug.diagnostics import table as table
from fx.debug.diagnostics import update_ratios as update_ratios
from fx.debug.finite import layer_flags as layer_flags
from fx.debug.histogram_log import Histograms as Histograms
from fx.debug.layers import Inspection as Inspection
from fx.debug.layers import Layer as Layer
from fx.debug.layers import inspect_step as inspect_step
from fx.debug.memory import explain_memory as explain_memory
from fx.debug.pictures import draw_activations as draw_activations
from fx.debug.report import Report as Report
from fx.debug.xray import xray as xray
