"""Slow and obvious implementations, to compare the library with."""
