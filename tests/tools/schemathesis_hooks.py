"""Every request comes from an address of its own, so that what is limited by address is tested behind its limit, too."""

import itertools

from requests.adapters import HTTPAdapter

numbers = itertools.count(1)
send = HTTPAdapter.send


def send_from_elsewhere(self, request, **rest):
    number = next(numbers)
    request.headers["X-Forwarded-For"] = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    return send(self, request, **rest)


HTTPAdapter.send = send_from_elsewhere
