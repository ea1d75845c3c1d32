"""Statistics over results: tables, correlations, comparisons."""
