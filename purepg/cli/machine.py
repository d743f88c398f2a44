"""What every computing command does first."""

import logging


def start() -> None:
    """Makes every core a device, and keeps compiled programs between processes if asked to.

    The libraries' logs are not shown: errors reach the user as one line of our own.
    """
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    from purepg.machines import compilation_cache, seeds

    seeds.use_all_cores()
    compilation_cache.use_if_asked()
