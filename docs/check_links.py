"""Check that every relative link and image in the Markdown files leads to a file: a wrong link is a defect."""

from __future__ import annotations

import pathlib
import re
import sys

LINK = re.compile(r"\]\(([^)#\s]+)(#[^)]*)?\)")


def broken_links(root: pathlib.Path) -> list[str]:
    """``file: link`` for every relative link below `root` that leads nowhere."""
    pages = [*root.glob("*.md"), *root.glob("docs/**/*.md"), *root.glob("packages/**/*.md")]
    broken = []
    for page in pages:
        for target, _ in LINK.findall(page.read_text(encoding="utf-8")):
            external = "://" in target or target.startswith("mailto:")
            if not external and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(root)}: {target}")
    return broken


if __name__ == "__main__":
    found = broken_links(pathlib.Path(__file__).resolve().parent.parent)
    print("\n".join(found) or "all links lead somewhere")
    sys.exit(bool(found))
