"""Progress on standard error, results on standard output."""

import json
import sys
import threading
import time
from typing import Any

from screenwise.recipes.outcome import Outcome, Progress

PATIENCE_SECONDS = 2.0
"""Work shorter than this shows no bar."""
LINE_SECONDS = 10.0
"""Time between log lines where there is no terminal."""
_ENDLESS = 10_000
_WORD = 12
"""Letters of a text that stand on one line, however narrow the screen."""
_FEW = 5
"""Rows of a table that may become columns where its columns do not fit."""


def bars() -> Progress:
    """Return a progress callback: a bar per kind of work on a terminal, else a line now and then.

    Nothing shows before two seconds have passed; then it shows, also where the first step takes minutes.
    """
    return _Bars() if sys.stderr.isatty() else _Lines()


def close_bars() -> None:
    """Take what is shown off the screen, as where the work was interrupted, and give the cursor back."""
    for each in list(_SHOWN):
        each.close()


class _Bars:
    """One rich bar per kind of work; it goes when the work is done."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.stand: dict[str, tuple[int, int]] = {}
        self.timers: dict[str, threading.Timer] = {}
        self.tasks: dict[str, Any] = {}
        self.display: Any = None

    def __call__(self, what: str, done: int, total: int) -> None:
        with self.lock:
            if done >= total:
                self._end(what)
                return
            self.stand[what] = (done, total)
            if what in self.tasks:
                self.display.update(self.tasks[what], completed=done, total=total)
            elif what not in self.timers:
                self.timers[what] = threading.Timer(PATIENCE_SECONDS, self._begin, [what])
                self.timers[what].daemon = True
                self.timers[what].start()

    def close(self) -> None:
        with self.lock:
            for what in [*self.timers, *self.tasks]:
                self._end(what)

    def _begin(self, what: str) -> None:
        with self.lock:
            if self.timers.pop(what, None) is not None:
                done, total = self.stand[what]
                self.tasks[what] = self._open().add_task(what, completed=done, total=total)

    def _end(self, what: str) -> None:
        timer = self.timers.pop(what, None)
        if timer is not None:
            timer.cancel()
        if what in self.tasks:
            self.display.remove_task(self.tasks.pop(what))
            if not self.tasks:
                self.display.stop()
                self.display = None
                _SHOWN.discard(self)

    def _open(self) -> Any:
        from rich import progress as rich  # noqa: PLC0415
        from rich.console import Console  # noqa: PLC0415

        if self.display is None:
            columns = (rich.TextColumn("{task.description}"), rich.BarColumn(), rich.MofNCompleteColumn())
            times = (rich.TimeElapsedColumn(), rich.TimeRemainingColumn())
            self.display = rich.Progress(*columns, *times, console=Console(stderr=True), transient=True)
            self.display.start()
            _SHOWN.add(self)
        return self.display


_SHOWN: set[_Bars] = set()
"""What is on the screen now."""


class _Lines:
    """A log line every ten seconds, for pipes and log files."""

    def __init__(self) -> None:
        self.said: dict[str, float] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        last = self.said.setdefault(what, now - LINE_SECONDS + PATIENCE_SECONDS)
        if now - last >= LINE_SECONDS:
            self.said[what] = now
            sys.stderr.write(f"{what}: {done} of {total}\n")
            sys.stderr.flush()


def show(outcome: Outcome, *, as_json: bool) -> None:
    """Write an outcome to standard output: text for people, or one JSON object."""
    if as_json:
        value = {name: getattr(outcome, name) for name in ("facts", "table", "notes", "files", "details")}
        sys.stdout.write(json.dumps(value, ensure_ascii=False, default=_plain) + "\n")
        return
    from rich.console import Console  # noqa: PLC0415

    console = Console(highlight=False)
    with console.capture() as text:  # rich would answer a closed pipe with exit code 1
        for name, value in outcome.facts.items():
            console.print(f"{name}: {_text(value)}", markup=False)
        if outcome.table:
            table = _table(outcome.table)
            wide = console.options.update(max_width=_ENDLESS)
            if console.measure(table, options=wide).maximum > console.width and len(outcome.table) < _FEW:
                table = _table(_turned(outcome.table))
            # a line too long for the screen is better than a number of which the end is missing
            console.print(table, width=max(console.width, console.measure(table, options=wide).minimum), crop=False)
        for note in outcome.notes:
            console.print(f"Note: {note}", markup=False)
        for what, path in outcome.files.items():
            console.print(f"{what}: {path}", markup=False, soft_wrap=True)
    sys.stdout.write(text.get())


def _table(rows: list[dict[str, Any]]) -> Any:
    """Lay rows out; texts may go over several lines, a number never."""
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=None, pad_edge=False)
    # a metric that one model has no value of is missing from that model's row
    columns = list(dict.fromkeys(column for row in rows for column in row))
    for column in columns:
        values = [row.get(column) for row in rows]
        text = any(isinstance(value, str) for value in values)
        longest = max(len(_text(value)) for value in values)
        least = min(longest, _WORD) if text else longest
        table.add_column(column, justify="left" if text else "right", overflow="fold", min_width=least)
    for row in rows:
        table.add_row(*(_text(row.get(column)).replace("[", "\\[") for column in columns))
    return table


def _turned(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the columns of a few rows as rows: many numbers of few things fit a narrow screen that way."""
    first, *others = dict.fromkeys(column for row in rows for column in row)
    return [{first: name} | {str(row[first]): row.get(name) for row in rows} for name in others]


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return "-" if value != value else f"{value:.4g}"  # noqa: PLR0124
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return str(value)


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)
