"""What every module may know: errors, argument checks, clocks, and words that several modules share.

Nothing here decides anything about an agent; it only keeps the rooms above from importing each other.
"""
