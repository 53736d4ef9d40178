"""Roll-up: sealed segments become objects in the object store, and leave the disk after.

``plan`` decides what goes into one object: pure. ``make``
makes one object, step by step, so that a crash between any two steps costs nothing but doing one again::

    plan_object ─▶ pack ─▶ put ─▶ publish_object ─▶ evict

``worker`` says when, and what a failure means; ``turns`` whose turn it is; ``threads`` at whose expense.
``evict`` deletes local copies of what is published. Until the index says "published", readers use the
segments, and nobody deletes them; an object's key follows from its plan, so making it again replaces what a
first try may have left in the store.
"""
