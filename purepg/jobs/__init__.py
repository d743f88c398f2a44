"""One job over many processes or machines.

processes   `jax.distributed`: each process trains its share of the seeds
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ["processes"])
