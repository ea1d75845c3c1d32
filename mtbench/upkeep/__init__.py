"""Results directories after the run: merging several, checking one, and telling how a unit was made."""
