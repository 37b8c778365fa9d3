"""Where should BatchNorm stand? The same network trained with BatchNorm in each place that people put it."""

from tinybn.study.arms import PLACEMENTS, build, parse_placement
from tinybn.study.command import main
from tinybn.study.protocol import Run, Settings, load_runs, run_arm
from tinybn.study.report import plot, table

__all__ = ["PLACEMENTS", "Run", "Settings", "build", "load_runs", "main", "parse_placement", "plot", "run_arm", "table"]
