"""Artefacts, the journal of a results directory, and the Parquet tables that are a view of both."""
