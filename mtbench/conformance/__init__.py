"""What authors of plugins and of mtbench itself test with, where the real thing is not at hand."""
