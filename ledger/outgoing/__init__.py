"""The one door for HTTP that goes out: webhooks, vendor clouds. Nothing else knows aiohttp.

    target.py      what a URL may be: https, a plain host, no user, no fragment
    addresses.py   which addresses may be reached, judged when a connection is made, after the lookup
    door.py        one request: bounded in time and bytes, no redirect, no proxy, no cookie

The library is loaded with `door` alone: settings, which name networks, need no more than `addresses`.
"""
