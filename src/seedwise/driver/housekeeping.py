"""What a driver does now and then: it minds signals, requests, and the workers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import Self

from seedwise.cluster.place import Place
from seedwise.driver.report import Report
from seedwise.driver.signals import StopSignals
from seedwise.errors import LeaseLostError, SeedwiseError
from seedwise.folder.directory import RunDirectory
from seedwise.folder.requests import Control, Request
from seedwise.model.events import PoolChanged
from seedwise.model.status import PoolNews


class Attendant:
    """Looks after a run while it goes on. As a context it does so from the run's begin to its end.

    Parameters
    ----------
    directory : RunDirectory
        The run's folder.
    stop : StopSignals
        What ends the run.
    report : Report
        What is told of it.
    """

    def __init__(self, directory: RunDirectory, stop: StopSignals, report: Report) -> None:
        self._directory = directory
        self._stop = stop
        self._report = report
        self._place: Place | None = None
        self._control: Control

    def __enter__(self) -> Self:
        """Take requests from now on."""
        self._control = Control(self._directory)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Tell what is still to be told, unless the run is another driver's now."""
        del kind, traceback
        if isinstance(error, LeaseLostError):
            return
        self._control.close()
        with contextlib.suppress(Exception):  # the cluster is closed; the error says more
            self._tell_news()

    def attend(self, place: Place) -> Callable[[], None]:
        """Look after a cluster, too.

        Parameters
        ----------
        place : Place
            The cluster, which was opened just now.

        Returns
        -------
        callable
            What is to be called now and then; raises what is to end the run.
        """
        self._place = place
        self._stop.at_once = place.cancel_at_once
        self._report.pool = place.pool
        return self._look

    def _look(self) -> None:
        assert self._place is not None  # it is attended to
        self._stop.check()
        for request in self._control.poll():
            self._control.answer(request, self._carried_out(request, self._place))
        self._stop.check()
        self._place.check()
        self._tell_news()
        self._report.refresh()

    def _carried_out(self, request: Request, place: Place) -> str | None:
        """Do what is asked for; return why it can't be done, if it can't."""
        self._report.log.write("asked", str(request))
        if request.scale is None:
            self._stop.request()
            return None
        try:
            place.scale(*request.scale)
        except SeedwiseError as error:
            return str(error)
        except Exception as error:  # it is no reason to lose the run
            return f"{type(error).__name__}: {error}"
        return None

    def _tell_news(self) -> None:
        if self._place is None:
            return
        news = self._place.news()
        self._report.log.write_news(news)
        for one in news:
            if _is_to_be_seen(one):
                self._report.emit(PoolChanged(one, self._place.pool()))


def _is_to_be_seen(news: PoolNews) -> bool:
    return news.warns or news.kind == "scaled"
