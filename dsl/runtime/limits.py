"""What a program may consume. Reaching a limit ends the program; package code can not catch that."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Limits of one program, over all its calls. Iterators and value sizes are errors that packages can catch."""

    steps: int = 50_000_000  # loop rounds and method calls
    recursion: int = 400  # methods inside each other, in one logical thread
    objects: int = 100_000  # objects created
    seconds: float = 0.0  # of processor time, of one call from the host without its effects; 0: unlimited
    threads: int = 64  # branches of one Parallel or pselect at a time
    branches: int = 256  # logical threads of the program that have begun and not ended
    total: int = 512 * 1024 * 1024  # bytes that the process may grow by while the program runs; 0: unlimited
    iterators: int = 2000  # items of a lazy collection when it is turned into a list
    memory: int = 512 * 1024  # bytes of any one value, not counting what it refers to
