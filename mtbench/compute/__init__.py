"""Devices, precision, batched inference, seeds and weight files."""
