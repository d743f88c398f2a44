"""For an environment and a name: the method, its numbers, how long to train.

table      every environment's presets: keywords, the first row that fits wins
defaults   the older name, `purepg.defaults.recipe`
"""

from purepg.presets import defaults
from purepg.presets.table import METHODS, NAMES, TABLE, Preset, preset

__all__ = ["METHODS", "NAMES", "TABLE", "Preset", "defaults", "preset"]
