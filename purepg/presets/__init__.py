"""Presets: for an environment and a name, the method, its numbers and the length of training.

table      every environment's presets: keywords; the first row that matches wins
defaults   the older name, `purepg.defaults.recipe`
"""

from purepg.presets import defaults
from purepg.presets.table import METHODS, NAMES, TABLE, Preset, preset

__all__ = ["METHODS", "NAMES", "TABLE", "Preset", "defaults", "preset"]
