"""Run many requests at a time with a fixed number of threads, and stop when further requests would fail as well."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import suppress
from queue import Empty, Queue
from typing import Final, TypeAlias, TypeVar

from fm_pipeline.errors import PipelineError, StorageError, unforeseen

Item = TypeVar("Item")
Result = TypeVar("Result")
# A worker puts an item with its result, the error that ended the worker, or None when it has ended.
Results: TypeAlias = "Queue[tuple[Item, Result | PipelineError] | BaseException | None]"

_END: Final = object()  # no item is left

# The next request would fail with the same code, so thousands of objects are not tried.
PERMANENT_CODES = frozenset(
    {
        *("InvalidAccessKeyId", "SignatureDoesNotMatch", "NoSuchBucket", "ExpiredToken", "AllAccessDisabled"),
        *("RequestTimeTooSkewed", "PermanentRedirect", "AuthorizationHeaderMalformed"),
    }
)
ARCHIVED = "InvalidObjectState"  # the object lies in Glacier or Deep Archive
_POLL_SECONDS = 0.1
FAILURES_IN_A_ROW = 20  # the server is down, or the role lacks a privilege


def in_parallel(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    late: Callable[[Item, Result], object] = lambda *_: None,
) -> Generator[tuple[Item, Result | PipelineError]]:
    """Yield the results of `work` in the order in which they arrive; an error is the result of its item.

    When the caller stops early, no further item is started, and the items at work are waited for.

    Args:
        late: called with each result that arrives after the caller has stopped.
    """
    # The queue is bounded, so that workers wait for a caller who has not yet decided whether to go on.
    results: Results[Item, Result] = Queue(2 * max(workers, 1))
    stop, lock, source = threading.Event(), threading.Lock(), iter(items)

    def next_item() -> Item | object:
        with lock:
            return _END if stop.is_set() else next(source, _END)

    def run() -> None:
        try:
            while (item := next_item()) is not _END:
                results.put((item, _result_of(work, item)))  # type: ignore[arg-type]  # it is not _END
        except BaseException as error:  # noqa: BLE001  # raised where the results are read
            results.put(error)
        results.put(None)

    threads = [threading.Thread(target=run, name=f"s3-{number}") for number in range(max(workers, 1))]
    try:
        for thread in threads:
            thread.start()
        yield from _until_all_ended(results, len(threads))
    finally:
        stop.set()
        _drain(results, threads, late)


def _result_of(work: Callable[[Item], Result], item: Item) -> Result | PipelineError:
    try:
        return work(item)
    except PipelineError as error:
        return error
    except Exception as error:  # noqa: BLE001  # concerns this item; `CircuitBreaker` ends what concerns all
        return unforeseen(error)


def _until_all_ended(results: Results[Item, Result], workers: int) -> Generator[tuple[Item, Result | PipelineError]]:
    """Yield results until every worker has put its None."""
    ended = 0
    while ended < workers:
        result = results.get()
        if result is None:
            ended += 1
        elif isinstance(result, BaseException):
            raise result
        else:
            yield result


def _drain(
    results: Results[Item, Result], threads: Sequence[threading.Thread], late: Callable[[Item, Result], object]
) -> None:
    """Wait for the workers, and hand over the results that nobody has read."""
    while any(thread.is_alive() for thread in threads) or not results.empty():
        with suppress(Empty):
            left = results.get(timeout=_POLL_SECONDS)
            if isinstance(left, tuple) and not isinstance(left[1], PipelineError):
                late(left[0], left[1])


class CircuitBreaker:
    """Ends a run whose failures do not concern single objects."""

    def __init__(self) -> None:
        self._in_a_row = 0

    def record(self, error: PipelineError | None) -> None:
        """Count one result.

        Raises:
            PipelineError: that error, if further requests would fail as well.
        """
        if isinstance(error, StorageError) and error.code == ARCHIVED:
            return  # this concerns the object, not the server
        self._in_a_row = self._in_a_row + 1 if error else 0
        hopeless = isinstance(error, StorageError) and error.code in PERMANENT_CODES
        if error and (hopeless or self._in_a_row >= FAILURES_IN_A_ROW):
            raise error
