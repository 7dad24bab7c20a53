"""μP of ordinary PyTorch modules: whether rates transfer, and what narrow networks say of wide ones."""
