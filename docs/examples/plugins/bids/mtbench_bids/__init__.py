"""NIfTI volumes in BIDS layout as a data set for mtbench."""
