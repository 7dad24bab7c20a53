"""What not every user of the library needs: the packages of its extras, and the line that says which one is missing."""

from importlib import import_module

PACKAGES = {
    "jinja2": ("jinja2", "cli"),
    "tyro": ("tyro", "cli"),
    "matplotlib": ("matplotlib", "cli"),
    "plotly": ("plotly", "cli"),
    "sklearn": ("scikit-learn", "cli"),
    "pooch": ("pooch", "cli"),
    "PIL": ("pillow", "recipes"),
    "tensorboard": ("tensorboard", "log"),
    "gpytorch": ("gpytorch", "gpytorch"),
    "pyarrow": ("pyarrow", "tables"),
    "datasets": ("datasets", "datasets"),
    "onnx": ("onnx", "onnx"),
    "onnxscript": ("onnxscript", "onnx"),
}
"""By the name that is imported: the name that is installed, and the extra in pyproject.toml that has it."""


class MissingExtraError(ModuleNotFoundError):
    """A package of an extra is not installed."""


def require(module: str, what: str) -> None:
    """Refuse in one line what needs a package that is not installed.

    Args:
        module: The name that is imported, one of `PACKAGES`.
        what: The command or argument that needs the package, for the message.

    Raises:
        MissingExtraError: If it cannot be found.
    """
    try:
        import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        package, extra = PACKAGES[module]
        raise MissingExtraError(f"{what} needs {package}: pip install 'mupi[{extra}]'", name=module) from None
