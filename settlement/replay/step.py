"""The step `settlement` of a verification, for whoever puts a verification together."""

from ledger.verify.further import Found, NotJudged, Proven
from ledger.verify.report import STEPS, Progress, counted
from settlement.replay.database import NoRoom, working_file
from settlement.replay.told import read_told


class SettlementStep:
    """Every settlement run is what its part of the book comes to; the invoices have no gap and add up."""

    number = max(STEPS) + 1
    name = "settlement"

    def run(self, book: Proven, found: Found, progress: Progress) -> str:
        try:
            with working_file() as connection:
                told = read_told(book, connection, found)
                if not told.runs and not told.invoices:
                    return "no settlement in this book"
                from settlement.replay.replay import Replay  # noqa: PLC0415 - loaded when there is a run

                replay = Replay(book, connection, found, progress)
                replay.run()
        except NoRoom as error:
            raise NotJudged(f"{error.what}; {error.hint}") from error
        parts = [counted(told.runs, "run"), counted(replay.settled, "interval")]
        return ", ".join([*parts, counted(told.invoices, "invoice")] if told.invoices else parts)
