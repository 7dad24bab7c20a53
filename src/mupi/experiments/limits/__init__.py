"""Tensor Programs and the μ-limit on the command line."""
