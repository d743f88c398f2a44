"""What a machine has and how it is used: devices, memory, disk.

branches           `lax.cond` that stays one under `vmap`
seeds              the seed axis: one seed's function over many, in the placement that suits the devices
memory             how much a run needs, before it is compiled
compilation_cache  compiled programs on disk
deadlocks          programs that hang XLA's CPU backend are named before they do
files              written whole or not at all; folder_lock: by one process at a time
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, ["compilation_cache", "deadlocks", "files", "folder_lock", "memory", "seeds"]
)
