"""Policy gradients in pure JAX."""

__version__ = "0.1.0"
