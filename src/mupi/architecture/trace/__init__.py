"""From a PyTorch module to its description: see `mupi.architecture.trace.run.trace`.

The module is built and exported at two widths (`capture`, `twins`, `extents`); each operation of the graph has a rule
(`registry` and the files named for rules), which says what it does to the axes of a tensor (`layout`) and which node
it writes; `ending` names the nodes and says what became of each parameter.
"""

from mupi.architecture.trace.registry import translates
from mupi.architecture.trace.run import trace
from mupi.architecture.trace.step import Step

__all__ = ["Step", "trace", "translates"]
