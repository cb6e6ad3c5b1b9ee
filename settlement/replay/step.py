"""The step `settlement` of a verification, for whoever puts a verification together."""

from ledger.verify.further import Found, NotJudged, Proven
from ledger.verify.report import STEPS, Place, Progress, counted
from settlement.replay.database import NoRoom, working_file
from settlement.replay.told import read_told

_ASK = "the ledger has signed what does not follow from its own book: ask the operator about it"


class SettlementStep:
    """Every settlement run is what its part of the book comes to; the invoices have no gap and add up."""

    number = max(STEPS) + 1
    name = "settlement"

    def run(self, book: Proven, found: Found, progress: Progress) -> str:
        def fault(what: str, place: Place) -> None:
            found(what, place, _ASK)

        try:
            with working_file() as connection:
                told = read_told(book, connection, fault)
                if not told.runs and not told.invoices:
                    return "no settlement in this book"
                from settlement.replay.replay import Replay  # noqa: PLC0415 - loaded when there is a run

                replay = Replay(book, connection, fault, progress)
                replay.run()
        except NoRoom as error:
            raise NotJudged(f"{error.what}; {error.hint}") from error
        parts = [counted(told.runs, "run"), counted(replay.settled, "interval")]
        return ", ".join([*parts, counted(told.invoices, "invoice")] if told.invoices else parts)
