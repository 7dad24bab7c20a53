"""Networks of many widths: exponents, learning rates, the way to the limit."""
