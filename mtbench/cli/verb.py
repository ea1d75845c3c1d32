"""The ``--help`` of a verb: what it does, examples, what is not obvious, then its options by subject."""

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
    "Files": (
        "out",
        "output",
        "challenge_json",
        "store",
        "config",
        "checkpoint",
        "results",
        "root",
        "overwrite",
        "skip_unreadable",
    ),
    "Plugins": ("plugin_files", "no_plugins", "trust_suite"),
    "Output": ("as_json", "quiet", "units"),
}
"""The headings of options, with the parameters under each; all others are under "Options"."""


class Verb(click.Command):
    """A command whose help shows the examples after its first paragraph, unwrapped, and its options by subject.

    In the docstring the examples are the lines below ``Examples:``, at its end.
    """

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The docstring's first paragraph, its examples, then its other paragraphs."""
        text, _, examples = inspect.cleandoc(self.help or "").partition("\n\nExamples:\n")
        summary, _, rest = text.partition("\n\n")
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(summary)
        if examples:
            with formatter.section("Examples"):
                for line in examples.splitlines():
                    formatter.write(f"{'':{formatter.current_indent}}{line.strip()}\n")
        if rest:
            formatter.write_paragraph()
            with formatter.indentation():
                formatter.write_text(rest)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options, one heading for each subject."""
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
