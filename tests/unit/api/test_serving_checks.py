"""Whether Postgres takes the connections of all workers of the API."""

from api.http.settings import ApiSettings
from api.serving_checks import connection_findings


def test_workers_that_would_take_all_connections_are_told_of() -> None:
    (well,) = connection_findings(ApiSettings(workers=4, connections=8), 97)
    assert (well.verdict, well.hint) == ("well", "")
    assert "64 of Postgres' 97" in well.found
    (odd,) = connection_findings(ApiSettings(workers=5, connections=8), 97)
    assert odd.verdict == "odd"
    assert "max_connections" in odd.hint
