"""Networks and kernels side by side."""
