"""``harvester report``: the state of an output as one page."""

from __future__ import annotations

from typing import Annotated

from harvester.cli import options
from harvester.cli.output.answers import answer
from harvester.core.text.inert_text import inert
from harvester.verbs import report as reporting


def report(
    manifest: options.ManifestPath = options.JOBS,
    /,
    *,
    html: Annotated[str, options.value("HARVESTER_HTML")],
    for_client: Annotated[bool, options.value("HARVESTER_FOR_CLIENT")] = False,
    lang: options.Lang = None,
    selecting: options.Selecting = options.ALL,
    output: options.Output = None,
    format: options.Format = "text",
    _ok_exit: options.OkExit = "",
) -> None:
    """Write coverage, attention, expectations and runs as one page.

    The page needs no other file and no network. Reads the files alone, asks
    nothing, needs no secret, and with --output no manifest. What is not selected is
    not in it.

    For example:
      harvester report jobs.yaml --html coverage.html

    Exit codes:
      0   written
      1   the output cannot be read, or the page cannot be written
      2   a mistake in the manifest or the options
      75  an object store is away, or refuses: run again

    Params:
        html: The file to write, or the URL of an object: s3://…/coverage.html, gs://…, az://….
        for_client: Leave out commands, remedies, runs, quota and sizes.
        lang: The language of the page.
    """
    source = options.manifest_of(manifest, output)
    language, given = options.language_of(lang), selecting.given()
    found = reporting.report(
        source, html=html, for_client=for_client, lang=language, output=output, **given
    )
    sentence = f"{inert(found.html)}: {found.sentence}"
    answer(format, found.to_dict, lambda out: out.say(sentence))
