"""The only door to NATS: envelopes in, receipts out, heads on request.

ledger.<community>.envelopes.<device>   JetStream, kept until the writer has answered
ledger.<community>.receipts.<device>    core NATS: a lost receipt is asked for again by sending again
ledger.<community>.heads.<device>       request and reply: where do my chains go on?
ledger.<community>.inbox.<kind>.<user>.>   where one user is answered

Who may say and hear what stands in `users`.
"""

from ledger.bus.connection import STORES_NOTHING, Bus, BusSettings
from ledger.bus.ear import BusRefused, BusUnavailable
from ledger.bus.intake import Delivery, Intake
from ledger.bus.users import User

__all__ = [
    "STORES_NOTHING",
    "Bus",
    "BusRefused",
    "BusSettings",
    "BusUnavailable",
    "Delivery",
    "Intake",
    "User",
]
