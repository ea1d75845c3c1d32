"""Challenges: scoring a submission as its challenge does, and ranking teams by the rules of challenges."""
