"""Strictness for the whole suite: no silent broadcasting between ranks, warnings are errors."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update(
    "jax_num_cpu_devices", 2
)  # the seed axis is split over devices also on a machine with one core
