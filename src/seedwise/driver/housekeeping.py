"""A driver's work every second or so: heed signals and requests, and look at the workers."""

import contextlib
from collections.abc import Iterator

import attrs

from seedwise.cluster.place import Place
from seedwise.driver.report import Report
from seedwise.driver.run import Run
from seedwise.driver.signals import StopSignals
from seedwise.errors import LeaseLostError, SeedwiseError
from seedwise.folder.requests import Control, Request
from seedwise.model.events import PoolChanged


@contextlib.contextmanager
def requests_of(run: Run) -> Iterator[Control]:
    """Take requests of others; what was asked of a driver before is dropped."""
    control = Control(run.directory)
    with contextlib.ExitStack() as closing:
        closing.callback(control.close)
        try:
            yield control
        except LeaseLostError:  # what is there is the other driver's
            closing.pop_all()
            raise


@attrs.frozen
class Housekeeper:
    """Looks after a run whose place is open."""

    _run: Run
    _place: Place
    _report: Report
    _stop: StopSignals
    _control: Control

    def look(self) -> None:
        """Look once; raises what is to end the run."""
        self._stop.check()
        for request in self._control.poll():
            self._control.answer(request, self._carried_out(request))
        self._stop.check()
        self._place.check()
        self._tell_news()
        self._report.refresh()

    def tell_last_news(self, error: BaseException | None) -> None:
        """Tell what happened as the place was closed, unless the run is another driver's now."""
        if not isinstance(error, LeaseLostError):
            with contextlib.suppress(Exception):  # the error that ended the run says more
                self._tell_news()

    def _carried_out(self, request: Request) -> str | None:
        """Do what is asked for; return why it can't be done, if it can't."""
        self._run.log.write("asked", str(request))
        if request.scale is None:
            self._stop.request()
            return None
        try:
            self._place.scale(*request.scale)
        except SeedwiseError as error:
            return str(error)
        except Exception as error:  # it is no reason to lose the run
            return f"{type(error).__name__}: {error}"
        return None

    def _tell_news(self) -> None:
        news = self._place.news()
        self._run.log.write_news(news)
        for one in news:
            if one.warns or one.kind == "scaled":
                self._report.take(PoolChanged(one, self._place.pool()))
