"""Experiments: one readable file each, made of the parts beside it."""
