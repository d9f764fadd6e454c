"""Warnings about a valid manifest that is probably not what was meant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from harvester.catalogue import CATALOGUE
from harvester.core.config.references import quote_safe
from harvester.core.config.settings import Manifest
from harvester.core.text.inert_text import inert
from harvester.core.text.wording import counted


def doubts(manifest: Manifest) -> Iterator[str]:
    """Yield what is allowed in a manifest and surprises later, each as a sentence."""
    for tag in sorted({tag for each in manifest.accounts for tag in each.tags if "," in tag})[:1]:
        yield (
            f"the tag{quote_safe(tag)} has a comma, and `tag:` selects none such: write a list, or"
            " `;` between the tags of a cell"
        )
    names = Counter(each.name for each in manifest.accounts if each.name)
    for name, count in names.most_common(1):
        if count > 1:
            yield f"{count:,} accounts have the name{quote_safe(name)}: only appids tell them apart"
    for name, dataset in manifest.datasets.items():
        if dataset.span > (known := CATALOGUE[name].span):
            most = counted(known, "day")
            yield f"`span` of {name} is {dataset.span}, and WeChat's page says at most {most}"
    path, file = manifest.output.path, manifest.file.absolute()
    if isinstance(path, Path) and file.exists() and file.resolve().is_relative_to(path.resolve()):
        yield (
            f"the output, {inert(str(path))}, holds the manifest: name a folder of its own, because"
            " an output is copied and read as a whole"
        )
