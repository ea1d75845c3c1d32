"""A suite in, a graph of units and the rows they will give out. Pure: no pixels, no torch."""

from mtbench.plan.graph import Plan, Row
from mtbench.plan.planner import make_plan

__all__ = ["Plan", "Row", "make_plan"]
