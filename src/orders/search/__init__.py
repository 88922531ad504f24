"""Finding orders by what they hold: pages of a list, searches, and many uids at once.

* `criteria`: what can be asked for, and which index answers it; pure
* `cursor`: where a list continues, as a text that its client gives back; pure
* `statements`: the SQL of a page
* `finder`: asks PostgreSQL, apart from what GETs and POSTs ask

Every page reads a bounded number of rows, by an index that has them in the order of the list. See
docs/decisions/0037-search-by-b-trees.md.
"""
