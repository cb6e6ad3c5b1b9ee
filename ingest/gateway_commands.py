"""The command that runs a gateway. The command line imports this file only when it is called."""

from ingest.gateway_service import run_gateway
from ledger.command_line import DEFAULT_CONFIG, ConfigPath, configure_logs, environment, serve


def gateway(*, config: ConfigPath = DEFAULT_CONFIG, id: str | None = None) -> None:
    """Run a gateway: read its meters on the quarter and send what they say until the ledger has it.

    Parameters
    ----------
    config
        The installation's settings file.
    id
        Which of its gateways; not needed where there is only one.
    """
    configure_logs()
    serve(lambda stop: run_gateway(config, environment(), id, stop))
