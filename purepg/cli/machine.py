"""What every command that computes does first."""

import logging


def start() -> None:
    """Every core becomes a device, and programs are kept between processes where that is asked for.

    What libraries log is not shown: errors reach the user as one line of ours.
    """
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    from purepg.machines import compilation_cache, seeds

    seeds.use_all_cores()
    compilation_cache.use_if_asked()
