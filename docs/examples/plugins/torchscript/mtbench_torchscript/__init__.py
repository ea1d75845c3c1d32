"""A TorchScript file as a translator for mtbench."""
