"""Write the generated pages: ``python -m tools.reference``."""

from __future__ import annotations

from pathlib import Path

from tools.reference import answers, pages, verbs

FOLDER = Path(__file__).parents[2] / "docs/reference"
NOTE = "\n\n<!-- Made by `python -m tools.reference`: do not change it by hand. -->\n"


def files() -> dict[Path, str]:
    """Return every generated page with its text."""
    found = {verb: verbs.page(verb) for verb in verbs.VERBS}
    found |= {
        "variables": verbs.variables(),
        "manifest-keys": pages.manifest_keys(),
        "error-codes": pages.error_codes(),
        "events": pages.event_lines(),
        "json": answers.answers(),
        "python-api": pages.python_api(),
    }
    # Behind the title, which a site takes from the first line.
    return {FOLDER / f"{name}.md": text.replace("\n", NOTE, 1) for name, text in found.items()}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for path, text in files().items():
        path.write_text(text, "utf-8")
