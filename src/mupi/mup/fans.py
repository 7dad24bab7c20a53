"""Sizes of parameters, where rules of μP look for them: they are `mupi.optim.fans`."""

from mupi.optim.fans import Fans

__all__ = ["Fans"]
