"""A segmentation program as a segmenter for mtbench."""
