"""The common part of the built-in trained translators."""
