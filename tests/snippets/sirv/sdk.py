"""Drives Sirv's own client: signs in, asks for protected URLs, fetches the files. Prints what it got as JSON lines."""

import json
import os
import sys

import requests
from sirv_rest_api import SirvApiError, SirvClient

base = sys.argv[1]
secret = os.environ["SIRV_CLIENT_SECRET"]


def say(**what):
    print(json.dumps(what), flush=True)


client = SirvClient(client_id="backend", client_secret=secret, base_url=base)
say(token=client.connect())
for params in [
    {"filename": "/docs/a.pdf", "expiresIn": 3600},
    {"filename": "/REST API Examples/ä.jpg", "expiresIn": 60, "secureParams": {"w": 300, "h": 300}},
    {"filename": "/docs/a.pdf", "expiresIn": 60, "key": os.environ["SIRV_KEY"], "insecureParams": {"text": "a b&c"}},
]:
    url = client.generate_jwt(params)["url"]
    answer = requests.get(url, timeout=20)
    say(url=url, status=answer.status_code, body=answer.text)
for params in [{}, {"filename": "/docs/a.pdf", "expiresIn": 60, "key": "wrong"}]:
    try:
        client.generate_jwt(params)
        say(refused=None)
    except SirvApiError as error:
        say(refused=error.status_code, message=error.message)
try:
    SirvClient(client_id="backend", client_secret="wrong", base_url=base).connect()
    say(refused=None)
except SirvApiError as error:
    say(refused=error.status_code, message=error.message)
