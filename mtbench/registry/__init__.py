"""Finding plugins: what they declare, how their parameters are read, and the identity of their code."""
