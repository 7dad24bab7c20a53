"""Files that unpack to more than they should: reading stops before the memory does."""

from io import BufferedIOBase


class TooLargeError(ValueError):
    """There is more to read than allowed."""


class AtMost:
    """A binary stream that ends in an error when more than so many bytes are read from it.

    Args:
        stream: The binary file to read from.
        limit: How many bytes may be read of it.
    """

    def __init__(self, stream: BufferedIOBase, limit: int):
        self.stream, self.limit, self.left = stream, limit, limit

    def read(self, size: int = -1) -> bytes:
        """At most ``size`` bytes.

        Raises:
            TooLargeError: If there are more left than allowed.
        """
        wanted = self.left + 1 if size < 0 else min(size, self.left + 1)
        content = self.stream.read(wanted)
        self.left -= len(content)
        if self.left < 0:
            raise TooLargeError(f"it unpacks to more than {self.limit:,} bytes")
        return content
