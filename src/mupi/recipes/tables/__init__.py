"""Classifiers on tables, side by side."""
