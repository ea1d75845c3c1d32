"""A results directory: its journal, the tables made from it, and what is done with several."""
