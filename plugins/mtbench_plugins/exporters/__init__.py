"""Table formats: Markdown, CSV, LaTeX, HTML and JSON."""

from __future__ import annotations

from collections.abc import Iterator

import mtbench


@mtbench.hookimpl
def mtbench_exporters() -> Iterator[mtbench.ExporterSpec]:
    """The built-in formats."""
    here = "mtbench_plugins.exporters"
    yield mtbench.ExporterSpec(
        "md", f"{here}.md:Markdown", ending=".md", default=True, description="Markdown (GitHub flavour); the default"
    )
    yield mtbench.ExporterSpec("csv", f"{here}.csv:Csv", ending=".csv", description="comma-separated values")
    yield mtbench.ExporterSpec(
        "tex",
        f"{here}.tex:Latex",
        params={
            "label": mtbench.Param("tab:mtbench", help="label for \\ref; empty: none"),
            "notes": mtbench.Param(True, help="footnotes and legend below the table"),
        },
        ending=".tex",
        description="LaTeX, with booktabs",
    )
    yield mtbench.ExporterSpec("html", f"{here}.html:Html", ending=".html", description="self-contained page")
    yield mtbench.ExporterSpec("json", f"{here}.json:Json", ending=".json", description="the table and all its values")
