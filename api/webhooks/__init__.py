"""Telling others over HTTP what came into the book.

messages.py     what is told, as the bytes that are signed
signing.py      how it is signed: Standard Webhooks
sealing.py      addresses and secrets as the store has them
schedule.py     when a delivery that failed is tried again
dispatcher.py   the service: fills the outbox, sends what is due, notes what became of it
"""
