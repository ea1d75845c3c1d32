"""Results and stores after the run: merge and check results, how a unit was made; artefacts' users, adopted fits."""
