"""The energy distance of gradient histograms: a metric with its own extractor for mtbench."""
