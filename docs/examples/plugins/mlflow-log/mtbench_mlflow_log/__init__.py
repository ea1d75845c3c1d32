"""Scores of mtbench runs in MLflow."""
