"""A module as an ONNX file, whose outputs are held against the module's."""

import logging
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from mupi.extras import require
from mupi.training.atomic import replacing

METADATA = "about"
"""Under which name of the file's metadata the JSON is."""


def write_onnx(module: nn.Module, x: Tensor, expected: Tensor, path: Path, about: str) -> None:
    """Write a module for any number of rows; where onnxruntime is installed, its outputs are compared.

    Args:
        module: From rows to outputs.
        x: Rows to try it on.
        expected: What it makes of them.
        path: Of the file.
        about: JSON for its metadata.

    Raises:
        MissingExtraError: If the packages of the extra ``onnx`` are not there.
        AssertionError: If the file gives other outputs.
    """
    for package in ("onnx", "onnxscript"):
        require(package, "an ONNX file")
    module = module.eval().requires_grad_(False)
    rows = {0: torch.export.Dim("batch")}
    with warnings.catch_warnings(), torch.no_grad():
        # Of PyTorch's exporter about itself.
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            program = torch.onnx.export(
                module, (x,), dynamo=True, verbose=False, dynamic_shapes=(rows,),
                input_names=["rows"], output_names=["answers"],
            )  # fmt: skip
        finally:
            logging.disable(logging.NOTSET)
    assert program is not None
    program.model.metadata_props[METADATA] = about
    with replacing(path) as partial:
        program.save(partial)
    try:
        from onnxruntime import InferenceSession
    except ModuleNotFoundError:
        return
    session = InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-4, atol=1e-4)
