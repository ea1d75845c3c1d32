"""A translator that mtbench trains: grey values as in the target domain, edges as in the source slice."""
