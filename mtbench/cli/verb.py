"""How ``--help`` of a verb looks: what it does, examples, then its options by subject."""

from __future__ import annotations

import inspect

import click

_SUBJECTS = {
    "Selection": (
        "translators",
        "datasets",
        "dataset",
        "segmenters",
        "metrics",
        "slices",
        "columns",
        "rows",
        "without",
        "conditional",
        "seeds",
        "fold",
        "settings",
    ),
    "Computation": (
        "device",
        "precision",
        "threads",
        "batch_size",
        "executor",
        "jobs",
        "timeout",
        "memory_gb",
        "fresh",
        "keep",
        "rerun",
        "seed",
        "draws",
        "balance",
        "no_intervals",
    ),
    "Files": ("out", "output", "store", "config", "checkpoint", "results", "root", "overwrite", "skip_unreadable"),
    "Plugins": ("plugin_files", "no_plugins", "trust_suite"),
    "Output": ("as_json", "quiet", "units"),
}
"""The headings of options, and the parameters that stand under each; all others stand under "Options"."""


class Verb(click.Command):
    """A command whose help shows the examples of its docstring as they are, and its options by subject.

    The examples are the lines below ``Examples:``, at the end of the docstring.
    """

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The docstring; its examples unwrapped."""
        text, _, examples = inspect.cleandoc(self.help or "").partition("\n\nExamples:\n")
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(text)
        if examples:
            with formatter.section("Examples"):
                for line in examples.splitlines():
                    formatter.write(f"{'':{formatter.current_indent}}{line.strip()}\n")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options, those of one subject under one heading."""
        subject_of = {name: subject for subject, names in _SUBJECTS.items() for name in names}
        records: dict[str, list[tuple[str, str]]] = {"Options": [], **{subject: [] for subject in _SUBJECTS}}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if record is not None:
                subject = "Output" if "--help" in param.opts else subject_of.get(param.name or "", "Options")
                records[subject].append(record)
        for subject, lines in records.items():
            if lines:
                with formatter.section(subject):
                    formatter.write_dl(lines)
