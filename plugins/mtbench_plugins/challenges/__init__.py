"""Challenges: how each scores a submission and ranks teams.

Written from the behaviour of the challenges' public programs, whose versions ``docs/howto/challenges.md`` names;
``tests/test_challenges.py`` compares every value with theirs.
"""
