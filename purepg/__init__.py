"""Policy gradients in pure JAX: hundreds of independent seeds, every estimator checked against an exact gradient.

Names are imported when they are first used: `import purepg` and `purepg --help` need not wait for JAX. The names are
in `__init__.pyi`.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
