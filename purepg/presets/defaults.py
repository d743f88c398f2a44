"""The older name of `purepg.presets`: `recipe` is `presets.preset`."""
