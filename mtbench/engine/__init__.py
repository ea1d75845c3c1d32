"""Runs a plan: the scheduler, the work of one unit, events and progress."""
