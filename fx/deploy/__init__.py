"""Exports a model as a bundle, and runs, checks and describes bundles without the model's code."""

from fx.deploy.bundle import export
from fx.deploy.engine import Engine, load_bundle
from fx.deploy.verify import Report, verify

__all__ = ["Engine", "Report", "export", "load_bundle", "verify"]
