"""Few-shot learning of Omniglot."""
