"""`python -m mupi`."""

import sys

from mupi.cli import main

sys.exit(main())
