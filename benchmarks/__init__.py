"""What the primitives cost, next to the least that any code could do and next to the peers.

``python -m benchmarks`` runs everything; see ``harness`` for how a figure comes about.
"""
