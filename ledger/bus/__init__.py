"""The only door to NATS: envelopes in, receipts out, heads on request.

ledger.<community>.envelopes.<device>   JetStream, kept until the writer has answered
ledger.<community>.receipts.<device>    core NATS: a lost receipt is asked for again by sending again
ledger.<community>.heads.<device>       request and reply: where do my chains go on?
"""

from ledger.bus.connection import Bus, BusSettings, BusUnavailable
from ledger.bus.intake import Delivery, Intake

__all__ = ["Bus", "BusSettings", "BusUnavailable", "Delivery", "Intake"]
