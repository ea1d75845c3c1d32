"""The store: artefacts, whole files, leases, hashes of files."""
