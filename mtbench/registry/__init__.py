"""Discovery of plugins, their specs and parameters, and the identity of their code."""
