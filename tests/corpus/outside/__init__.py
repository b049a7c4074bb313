"""A second corpus, of somebody who had not read the rules.

Its labels were written from what providers document and before anything was run; what a rule learnt from it
is in the rule's principle, never in a case of its own.  :mod:`tests.corpus` counts it under ``outside``.
"""
