"""What every command that computes does first."""


def start() -> None:
    """Every core becomes a device, and programs are kept between processes where that is asked for."""
    from purepg import compilation_cache, seeds

    seeds.use_all_cores()
    compilation_cache.use_if_asked()
