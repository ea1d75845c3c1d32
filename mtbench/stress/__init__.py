"""``mtbench stress``: graded, seeded damage, and what each metric makes of it.

The operators (``appearance``, ``anatomy``, ``structures``, ``sets``) are pure functions; ``operators`` is their table.
``material`` takes true translations and references from a data set, ``bench`` scores every metric on every damaged set
and keeps the scores in the store, ``response`` reads the curves, and ``cards``, ``matrix`` and ``page`` print them.
"""
