"""Environments of purepg, each usable without it."""
