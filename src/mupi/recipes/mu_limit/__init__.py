"""A deep μ-limit beside its finite networks."""
