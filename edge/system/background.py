"""Something worked out in a thread of its own while the caller goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from threading import Thread
from typing import Generic, TypeVar

from edge.system.resource_limits import begin

A = TypeVar("A")
T = TypeVar("T")


class Background(Generic[T]):
    """Calls a function at once in a thread, and gives its result when asked.

    (``concurrent.futures`` does this too, and takes ten times as long to import.)
    """

    def __init__(self, function: Callable[[], T]) -> None:
        """Begin. Raises ShortageError where no thread can be started."""
        self._function = function
        self._result: list[T] = []
        self._error: BaseException | None = None
        self._thread = begin(Thread(target=self._run, name="later"))

    def wait(self) -> None:
        """Wait for the function, whatever comes of it."""
        self._thread.join()

    def result(self) -> T:
        """Wait for the function; give what it returned, or raise what it raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._result[0]

    def _run(self) -> None:
        try:
            self._result.append(self._function())
        except BaseException as error:  # raised again in result()
            self._error = error


def ahead(items: Sequence[A], function: Callable[[A], T]) -> Iterator[tuple[A, Background[T]]]:
    """Each item with what `function` makes of it, worked out while the one before is dealt with; of
    the first at once. Raises ShortageError.
    """
    begun = [Background(lambda: function(items[0]))]

    def each() -> Iterator[tuple[A, Background[T]]]:
        for item, following in zip(items, [*items[1:], None], strict=True):
            ready = begun.pop()
            ready.wait()
            if following is not None:
                begun.append(Background(partial(function, following)))
            yield item, ready

    return each()
