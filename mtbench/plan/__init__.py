"""From a suite to a graph of units and the rows that they fill. Reads no pixels and imports no torch."""

from mtbench.plan.graph import Plan, Row
from mtbench.plan.planner import make_plan

__all__ = ["Plan", "Row", "make_plan"]
