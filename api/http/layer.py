"""What stands around all handlers: layers that pass a request on, or refuse it.

The library's own base asks for each request whether its path or its handler is left out, which costs more
than most layers do themselves, and here none is.
"""

from abc import ABC, abstractmethod
from functools import partial

from litestar.types import ASGIApp, Receive, Scope, Send


class Layer(ABC):
    """One of them. There is one of its kind in an application, whatever the number of its routes."""

    def __call__(self, app: ASGIApp) -> ASGIApp:
        """The application with this layer around it."""
        return partial(self.handle, next_app=app)

    @abstractmethod
    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Pass a request on, or raise what it is refused with."""
