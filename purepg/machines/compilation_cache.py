"""Compiled programs kept between processes: the second start of a job spends no time in the compiler.

Opt in by the environment variable PUREPG_CACHE, which names a folder and which every `purepg` command reads, or by
`use` before the first program is compiled. Programs of another version of JAX or another processor lie in another
folder inside: code for one processor may crash on the next. A damaged entry costs a compilation and a warning at every
start; the folder may be deleted at any time.
"""

import hashlib
import os
import pathlib
import platform

from purepg.errors import InvalidInput

VARIABLE = "PUREPG_CACHE"


def use_if_asked() -> None:
    """Uses the folder that the environment variable names, if it names one."""
    if folder := os.environ.get(VARIABLE):
        use(folder)


def use(folder: str | os.PathLike) -> pathlib.Path:
    """Keeps every program that is compiled from here on, and reads those that are there; the folder that they lie in.

    Raises:
      InvalidInput: the folder cannot be made.
    """
    import jax
    import jaxlib.version

    target = pathlib.Path(folder).expanduser() / f"jaxlib-{jaxlib.version.__version__}-{_processor()}"
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(f"cannot keep compiled programs in {folder}: {error.strerror}") from error
    jax.config.update("jax_compilation_cache_dir", str(target))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return target


def _processor() -> str:
    """A short name of this kind of processor, instruction sets included."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        words = sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
    except OSError:
        words = [platform.processor(), platform.machine()]
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:12]
