"""A model in its own virtual environment as a translator for mtbench."""
