"""The widths of a sweep."""


def doublings(smallest: int, largest: int) -> list[int]:
    """``smallest``, twice that, and so on, up to ``largest``."""
    return [smallest * 2**k for k in range((largest // smallest).bit_length())]
