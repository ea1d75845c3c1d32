"""Runs a plan: the scheduler, the execution of one unit, events and progress."""
