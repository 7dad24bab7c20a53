"""What the site needs beside MkDocs' plugins: docstrings as Markdown, links from names to the API, the changelog."""

import re
from pathlib import Path

from griffe import Extension
from jupyter_client.connect import ConnectionFileMixin

ROOT = Path(__file__).parents[1]
EXAMPLE = re.compile(r"^(?P<indent> *)>>> .*(?:\n(?P=indent).*\S.*)*", re.MULTILINE)
NAME = re.compile(r"(?<![\[`])`(mupi(?:\.\w+)+)`(?![\]`])")
TO_A_SOURCE = re.compile(r'href="(?!https?:)([^"#]+)\.(?:md|py)(#[^"]*)?"')
CELL = re.compile(r"<td\b[^>]*>.*?</td>", re.DOTALL)
OPTION = re.compile(r"(?<![\w!-])(--[a-z][\w-]*)")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def fenced(example: re.Match[str]) -> str:
    """A doctest as a block of code; in Markdown its first characters would make it a quotation."""
    indent = example["indent"]
    return f"\n{indent}```pycon\n{example[0]}\n{indent}```\n"


def linked(text: str) -> str:
    """`mupi.name` as a link to its entry in the API, where there is one."""
    link = r'<autoref identifier="\1" optional><code>\1</code></autoref>'
    return "\n".join(line if line.startswith("#") else NAME.sub(link, line) for line in text.split("\n"))


class Docstrings(Extension):
    """Docstrings as Markdown."""

    def on_instance(self, *, obj, **_) -> None:
        """Rewrite the docstring of an object that was read."""
        if obj.docstring:
            obj.docstring.value = linked(EXAMPLE.sub(fenced, obj.docstring.value))


def on_startup(**_) -> None:
    """Tutorials' kernels talk through files of this machine, not through ports."""
    ConnectionFileMixin.transport.default_value = "ipc"


def on_page_content(html: str, page, **_) -> str:
    """Links of tutorials, which MkDocs does not see, lead to pages; options of commands in tables stay in one line."""
    if page.file.src_uri.startswith("tutorials/"):
        return TO_A_SOURCE.sub(r'href="\1.html\2"', html)
    return CELL.sub(lambda cell: OPTION.sub(r'<span class="option">\1</span>', cell[0]), html)


def on_page_markdown(markdown: str, page, **_) -> str:
    """The changelog stands beside the README; names of the library lead to the API."""
    if page.file.src_uri == "changelog.md":
        markdown = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").replace("](docs/", "](")
    parts = re.split(f"({FENCED.pattern})", markdown, flags=FENCED.flags)
    return "".join(part if part.startswith("```") else linked(part) for part in parts)
