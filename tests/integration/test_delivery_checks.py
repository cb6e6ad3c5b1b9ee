"""The doctor looks at a real book: what no building's meter shows, and since when that is absurd."""

from datetime import date, datetime

import pytest

from api.delivery_checks import delivery_findings
from api.finding import Finding
from ledger.events import MeterAdded, MeterAssigned
from ledger.postgres import PostgresSettings
from ledger.registry import OPERATOR
from ledger.settings import CommunitySettings, Settings
from tests.support.billing import be_on
from tests.support.campus import GATEWAY, MORNING
from tests.support.trading import DAY, HOUR, Site, quarters


async def said(site: Site, now: datetime) -> list[Finding]:
    await site.projector.catch_up()
    settings = Settings(CommunitySettings("campus"), postgres=site.store)
    return [each async for each in delivery_findings(settings, now, is_billed=True)]


@pytest.fixture
async def site(database: str) -> Site:
    """Three buildings and a main meter, before the first reading."""
    found = Site(PostgresSettings(url=database))
    await found.open()
    main = MeterAdded(meter="m-main", role="main", model="x", rated_w=1_000_000, since=MORNING)
    await found.tell(OPERATOR, "registry", main, MeterAssigned(meter="m-main", device=GATEWAY, since=MORNING))
    return found


async def test_a_campus_whose_main_meter_shows_five_times_what_its_buildings_do_is_not_well(
    site: Site,
) -> None:
    assert await said(site, MORNING + HOUR) == [], "nothing is known yet"
    await quarters(site, 0, 4)
    await site.read("m-main", *((k, 2_020 * k, 0) for k in range(3)))
    (well,) = await said(site, MORNING + HOUR)
    assert (well.verdict, well.found) == (
        "well", "main meter and buildings differ by 0 %: 0.040 of 8.040 kWh in the last day",
    )  # fmt: skip
    await site.read("m-main", *((k, 40_000 * k, 0) for k in range(3, 5)))
    (wrong,) = await said(site, MORNING + HOUR)
    assert wrong.verdict == "wrong"
    assert "since 2026-06-01 07:30: " in wrong.found, "in local time, from the third quarter on"
    await be_on(site, date(2026, 6, 4))
    for meter, (imported, exported) in {
        "m-0": (0, 2_000 * 288), "m-1": (288_000, 0), "m-2": (3_000 * 288, 0), "m-main": (40_000 * 288, 0),
    }.items():  # fmt: skip
        await site.read(meter, (288, imported, exported))
    (later,) = await said(site, MORNING + 3 * DAY)
    assert later.found.startswith("no building's meter shows 9")
    assert "since 2026-06-01 07:30: " in later.found, "three days ago"
    await site.close()
