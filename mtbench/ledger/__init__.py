"""What changed between two label maps of a volume: connected components, their matching, and one item per change.

For metrics on structures, the report and the verb `mtbench ledger`. It compares labels, and no images: a change that
no label shows is not in it. NumPy and SciPy only.
"""

from mtbench.ledger.components import Components, Grid, LengthUnit, Matching, SizeUnit, among, find_components, match
from mtbench.ledger.items import KINDS, Item, Kind, Part, Rules, find_items

__all__ = [
    "KINDS",
    "Components",
    "Grid",
    "Item",
    "Kind",
    "LengthUnit",
    "Matching",
    "Part",
    "Rules",
    "SizeUnit",
    "among",
    "find_components",
    "find_items",
    "match",
]
