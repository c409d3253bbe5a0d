"""Many requests at a time, bounded: threads that take one item after the other, results as they come."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from queue import Empty, Queue
from typing import TypeVar

from fm_pipeline.errors import PipelineError, StorageError, unforeseen

Item = TypeVar("Item")
Result = TypeVar("Result")

# What the next request would meet too: there is no sense in asking for thousands of objects.
PERMANENT_CODES = frozenset(
    {
        *("InvalidAccessKeyId", "SignatureDoesNotMatch", "NoSuchBucket", "ExpiredToken", "AllAccessDisabled"),
        *("RequestTimeTooSkewed", "PermanentRedirect", "AuthorizationHeaderMalformed"),
    }
)
ARCHIVED = "InvalidObjectState"  # the object lies in Glacier or Deep Archive
_LOOK_AGAIN_SECONDS = 0.1
FAILURES_IN_A_ROW = 20  # a server that is down, or a role that may not


def in_parallel(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    late: Callable[[Item, Result], object] = lambda *_: None,
) -> Generator[tuple[Item, Result | PipelineError]]:
    """Results of `work`, in the order in which they come; an error counts as the result of its item.

    When the caller stops early, no further item is begun and those at work are waited for.

    Args:
        late: called then with each result that the caller did not get.
    """
    # Of bounded length: a caller who is to decide whether to go on is not left behind.
    results: Queue[tuple[Item, Result | PipelineError] | BaseException | None] = Queue(2 * max(workers, 1))
    stop, lock, source = threading.Event(), threading.Lock(), iter(items)

    def run() -> None:
        try:
            while not stop.is_set():
                with lock:
                    item = next(source, _END)
                if item is _END:
                    break
                try:
                    results.put((item, work(item)))  # type: ignore[arg-type]  # it is no end
                except PipelineError as error:
                    results.put((item, error))  # type: ignore[arg-type]
                except Exception as error:  # noqa: BLE001  # it concerns this item; `CircuitBreaker` ends what concerns all
                    results.put((item, unforeseen(error)))  # type: ignore[arg-type]
        except BaseException as error:  # noqa: BLE001  # raised where the results are read
            results.put(error)
        results.put(None)

    threads = [threading.Thread(target=run, name=f"s3-{number}") for number in range(max(workers, 1))]
    try:
        for thread in threads:
            thread.start()
        ended = 0
        while ended < len(threads):
            result = results.get()
            if result is None:
                ended += 1
            elif isinstance(result, BaseException):
                raise result
            else:
                yield result
    finally:
        stop.set()
        while any(thread.is_alive() for thread in threads) or not results.empty():
            with suppress(Empty):
                left = results.get(timeout=_LOOK_AGAIN_SECONDS)
                if isinstance(left, tuple) and not isinstance(left[1], PipelineError):
                    late(left[0], left[1])


_END = object()


class CircuitBreaker:
    """Decides when failures are no longer single ones."""

    def __init__(self) -> None:
        self._in_a_row = 0

    def record(self, error: PipelineError | None) -> None:
        """One more result.

        Raises:
            PipelineError: that error, if going on has no sense.
        """
        if isinstance(error, StorageError) and error.code == ARCHIVED:
            return  # it says something of this object, and nothing of the server
        self._in_a_row = self._in_a_row + 1 if error else 0
        hopeless = isinstance(error, StorageError) and error.code in PERMANENT_CODES
        if error and (hopeless or self._in_a_row >= FAILURES_IN_A_ROW):
            raise error
