"""A second corpus, of somebody who had not read the rules.

Its labels were written from what providers document and before anything was run; what a rule learnt from it
is in the rule's principle, never in a case of its own.  :mod:`tests.corpus` counts it under ``outside``.

The modules ``exam_*`` are a third, of somebody who had read neither the rules nor the other two.  Their first run
(417 cases, before any rule was touched): 409 kinds right, 4 would have been repeated that must not be, all waits
right.  Two labels were the examiner's own and not the documents'; ``also`` in those cases says so.
"""
