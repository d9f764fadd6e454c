"""Programs about the catalogue.

``python -m tools.catalogue`` prints docs/datasets.md, and with ``zh`` docs/datasets.zh.md.
``python -m tools.catalogue check [FOLDER]`` compares the catalogue with WeChat's documentation,
fetched or saved in FOLDER, and prints the differences. Exit codes:

  0   no difference
  2   a mistake in the arguments
  75  a page could not be fetched; the differences of the others are printed
  3   the documentation and the catalogue differ
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from harvester.core.exit_codes import Exit
from harvester.core.text.inert_text import inert, inert_line
from tools.catalogue.dictionary import page
from tools.catalogue.drift import addresses, differences
from tools.catalogue.page_download import Pages, fetch_pages, read_pages


def main(arguments: Sequence[str]) -> Exit:
    """Run the program that the arguments name."""
    if list(arguments) in ([], ["zh"]):
        sys.stdout.buffer.write(page("zh" if arguments else "en").encode())
        return Exit.DONE
    if arguments[0] != "check" or len(arguments) > 2:
        sys.stderr.write(f"{__doc__}")
        return Exit.USAGE
    if len(arguments) == 1:
        return tell(asyncio.run(fetch_pages(addresses())))
    folder = Path(arguments[1])
    if not folder.is_dir():
        sys.stderr.write(f"{inert(str(folder))} is not a folder\n")
        return Exit.USAGE
    return tell(read_pages(folder, addresses()))


def tell(pages: Pages) -> Exit:
    """Print the differences between pages and the catalogue, and return the exit code."""
    found = differences(pages.texts)
    lines = [str(difference) for difference in found]
    lines += [f"{name}: not fetched: {inert(reason)}" for name, reason in pages.unread.items()]
    lines.append(f"{len(found)} differences in {len(pages.texts)} pages")
    sys.stdout.writelines(f"{inert_line(line)}\n" for line in lines)
    if pages.unread:
        return Exit.AGAIN
    return Exit.INCOMPLETE if found else Exit.DONE


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    sys.exit(main(sys.argv[1:]))
