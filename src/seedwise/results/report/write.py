"""The writing of a report."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

from seedwise.disk.aside import replace_file, writing
from seedwise.errors import OptionError
from seedwise.folder.directory import RunDirectory
from seedwise.folder.find import run_of_entry
from seedwise.results.report.blocks import Section
from seedwise.results.report.formats import html, markdown
from seedwise.results.report.made import made_sections

_WRITERS = {".html": html, ".md": markdown}


class Reported(ABC):
    """A result that can write a report of itself."""

    __slots__ = ()

    # The fields of the classes below.
    loss_name: str
    run_dir: str

    def report(self, path: str | Path | None = None) -> Path:
        """Write a report: what was found, how good it is, and how it was made.

        It is one file that needs nothing else, to be sent or printed. In HTML it has figures; in
        Markdown, for a pull request, it has none.

        Parameters
        ----------
        path : str or pathlib.Path, optional
            The file, which ends in ``.html`` or ``.md``. None means ``report.html`` in the run's
            folder.

        Returns
        -------
        pathlib.Path
            The file.

        Raises
        ------
        OptionError
            If the file's name ends in something else.
        MissingExtraError
            If matplotlib is not installed, which HTML needs.
        RunFileError
            If the file can't be written.
        """
        folder = Path(self.run_dir)
        path = folder / "report.html" if path is None else Path(path).expanduser()
        writer = _WRITERS.get(path.suffix)
        if writer is None:
            raise OptionError("path", str(path), "a name that ends in .html or .md")
        directory = RunDirectory(folder, run_of_entry(folder))
        of_run = "" if directory.parent is None else f"{directory.parent.name}, "
        title = f"{self.loss_name}: {of_run}{folder.name}"
        subtitle = directory.read_meta().get("loss_description", "")
        text = writer(title, subtitle, [*self._sections(), *made_sections(directory)])
        with writing(path):
            replace_file(path, text.encode(), durable=False)
        return path

    @abstractmethod
    def _sections(self) -> Iterator[Section]:
        """Yield what was found."""
