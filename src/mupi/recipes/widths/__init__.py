"""How networks depend on their width."""
