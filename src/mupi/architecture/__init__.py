"""One description of a network, from which every reading follows.

`operation`, `weights`, `coordinates` and `positions` say what networks are made of, `description` how they are put
together; `describe` and `zoo` write them by hand, and `trace` reads them from a user's PyTorch module. A *reading*
turns a description into something that can be used: a file each, with a rule for each operation (`rules`).
"""

from mupi.architecture.architecture import Architecture
from mupi.architecture.coordinates import Activate, Add, Center, Dropout, Multiply, Normalize, Scale
from mupi.architecture.describe import Part, activate, chain, describe, named, residual
from mupi.architecture.description import Description, Node
from mupi.architecture.draft import Draft, Value
from mupi.architecture.finite import FiniteNetwork
from mupi.architecture.finite_rules import Place, finite
from mupi.architecture.operation import Input, Operation
from mupi.architecture.parameters import Cut, Parameter, Use
from mupi.architecture.pi_network import PiArchitecture
from mupi.architecture.pi_plan import Step
from mupi.architecture.pi_weights import pi
from mupi.architecture.positions import Attention, AveragePool, Flatten, Join, Permute, Reshape, Select
from mupi.architecture.program import ForwardProgram
from mupi.architecture.program_values import Columns, Layer, Outputs
from mupi.architecture.program_writer import Writer, program
from mupi.architecture.rules import Refused, Rules
from mupi.architecture.scaling import Scaled, Scaling
from mupi.architecture.shape import Shape, Width
from mupi.architecture.weights import Conv, Dense, Embed, Table, WeightOperation

__all__ = [
    "Activate",
    "Add",
    "Architecture",
    "Attention",
    "AveragePool",
    "Center",
    "Columns",
    "Conv",
    "Cut",
    "Dense",
    "Description",
    "Draft",
    "Dropout",
    "Embed",
    "FiniteNetwork",
    "Flatten",
    "ForwardProgram",
    "Input",
    "Join",
    "Layer",
    "Multiply",
    "Node",
    "Normalize",
    "Operation",
    "Parameter",
    "Outputs",
    "Part",
    "Permute",
    "Place",
    "Refused",
    "PiArchitecture",
    "Reshape",
    "Rules",
    "Scale",
    "Scaled",
    "Scaling",
    "Select",
    "Shape",
    "Step",
    "Table",
    "Use",
    "Value",
    "WeightOperation",
    "Width",
    "Writer",
    "activate",
    "chain",
    "describe",
    "finite",
    "named",
    "program",
    "pi",
    "residual",
]
