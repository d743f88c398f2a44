import warnings

import jax
import jax.numpy as jnp
import jax.scipy.linalg
import numpy as np
import pytest

from purepg.machines import deadlocks
from purepg.machines.seeds import Place

ON_THE_LIST = {
    "qr": lambda x: jnp.linalg.qr(x)[0],
    "cholesky": jnp.linalg.cholesky,
    "lu": lambda x: jax.scipy.linalg.lu(x)[2],
    "solve": lambda x: jnp.linalg.solve(x, x),
    "inv": jnp.linalg.inv,
    "triangular": lambda x: jax.scipy.linalg.solve_triangular(x, x),
    "eigh": lambda x: jnp.linalg.eigh(x)[0],
    "svd": lambda x: jnp.linalg.svd(x)[1],
    "lstsq": lambda x: jnp.linalg.lstsq(x, x)[0],
    "expm": jax.scipy.linalg.expm,
}


@pytest.fixture(autouse=True)
def affected_version(monkeypatch):
    monkeypatch.setattr(deadlocks.jaxlib.version, "__version_info__", (0, 10, 2))
    monkeypatch.delenv("PJRT_NPROC", raising=False)


def lowered(function, *shape):
    return jax.jit(function).lower(jax.ShapeDtypeStruct(shape, jnp.float32))


@pytest.mark.parametrize("name", ON_THE_LIST)
def test_batched_calls_are_found_and_one_at_a_time_is_not(name):
    function = ON_THE_LIST[name]
    with pytest.warns(UserWarning, match=r"of \(2, 64, 64\).*sequential_vmap"):
        deadlocks.warn_of_batched_lapack(lowered(jax.vmap(function), 2, 64, 64))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        deadlocks.warn_of_batched_lapack(lowered(lambda xs: jax.lax.map(function, xs), 2, 64, 64))
        deadlocks.warn_of_batched_lapack(
            lowered(jax.vmap(function), 2, 8, 8)
        )  # too little work to be handed out


def test_cured_versions_and_settings_are_left_alone(monkeypatch):
    program = lowered(jax.vmap(jnp.linalg.inv), 2, 64, 64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        monkeypatch.setenv("PJRT_NPROC", "32")
        deadlocks.warn_of_batched_lapack(program)
        monkeypatch.delenv("PJRT_NPROC")
        monkeypatch.setattr(deadlocks.jaxlib.version, "__version_info__", (0, 11, 1))
        deadlocks.warn_of_batched_lapack(program)


def test_a_function_over_seeds_is_looked_into():
    """Side by side the seeds are the batch; one after another there is none. Compiled only: running may hang."""
    xs = np.zeros((4, 64, 64), np.float32)
    with pytest.warns(UserWarning, match="geqrf"):
        Place(4, "vmap").compile(ON_THE_LIST["qr"], xs)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Place(4, "sequential").compile(ON_THE_LIST["qr"], xs)
