"""The older name of `purepg.presets`: `recipe` is `presets.preset`."""

from purepg.presets import preset as recipe  # noqa: F401
