"""What the machine decides, not the researcher: how an update is cut for the devices that compute it.

A task carries it to whatever differentiates rows. Nothing is looked up around the program, so that one for a device
that is not here can be made here, with `jax.export` and `for_platform("cuda")`. It is set where programs are built
(`purepg.run`), and is no part of what was trained: saved runs, flags and sweeps leave it out.
"""

import dataclasses
from dataclasses import dataclass

from purepg.errors import whole_number

ROWS_ON_CPU, ROWS_ELSEWHERE = 256, 65_536


@dataclass(frozen=True)
class Backend:
    """How an update is cut."""

    rows_per_chunk: int = 0
    """Rows differentiated at once; 0: what suits the platform that the program is compiled for."""
    row_axis: str | None = None
    """Axis of the devices that share the rows of one seed, as `purepg.seeds.ROW_AXIS`; none: each has all rows."""

    def __post_init__(self):
        whole_number("rows_per_chunk", self.rows_per_chunk, 0)


AUTOMATIC = Backend()


def for_platform(platform: str, row_axis: str | None = None) -> Backend:
    """What suits a platform as JAX names it: cpu, cuda, rocm, tpu."""
    return Backend(ROWS_ON_CPU if platform == "cpu" else ROWS_ELSEWHERE, row_axis)


def of_machine(field: dataclasses.Field) -> bool:
    """Whether a record's field is the machine's to decide: it is neither saved nor a flag."""
    return field.metadata.get("of_machine", False)
