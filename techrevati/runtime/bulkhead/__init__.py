"""Let only so many calls run at once, and only so many wait for that.

``Line`` decides: who is in, who waits, who is next; it has no clock, no lock and waits for nobody.  Whoever
leaves hands the place to the first in the queue, so nobody overtakes and no place is free while somebody
waits.  ``Bulkhead`` adds the lock and the waiting, for threads and tasks in one queue.
"""

from __future__ import annotations

from techrevati.runtime._core.log import announce
from techrevati.runtime.bulkhead.bulkhead import Bulkhead
from techrevati.runtime.bulkhead.line import Line, Place
from techrevati.runtime.bulkhead.vocabulary import BulkheadFullError, BulkheadSnapshot

__all__ = ["Bulkhead", "BulkheadFullError", "BulkheadSnapshot", "Line", "Place"]

announce("bulkhead")
