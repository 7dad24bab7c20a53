"""The first command: in a minute, what it means that features are learned."""
