"""The doctor: what is wrong with the normalization of a model, why, and how to repair it."""

from tinybn.nn.doctor.diagnose import diagnose
from tinybn.nn.doctor.report import Finding, LayerReport, Report

__all__ = ["Finding", "LayerReport", "Report", "diagnose"]
