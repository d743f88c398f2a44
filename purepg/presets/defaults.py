"""The older name of `purepg.presets`: `recipe` is `presets.preset`."""

from purepg.presets.table import preset

recipe = preset
