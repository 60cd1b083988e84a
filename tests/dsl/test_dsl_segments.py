"""Methods are compiled at the first call: by one thread, however many come there together."""

from __future__ import annotations

import threading
import time

from dsl.compiler import segments


def test_two_threads_that_need_a_segment_first_get_the_one_that_was_made():
    """Both once made it of the same unit, which the first had used up: the method had no body then."""
    made, making = [], threading.Event()

    def make():
        made.append(threading.get_ident())
        making.set()
        time.sleep(0.05)  # in which the other one comes; later, it finds what was made, and the test holds all the same
        return segments.Parts(segments._NOTHING, {}, {}, {})

    segment, got = segments.Segment(make), []
    first = threading.Thread(target=lambda: got.append(segment.parts))
    first.start()
    assert making.wait(60)
    got.append(segment.parts)
    first.join()
    assert len(made) == 1
    assert got[0] is got[1]
