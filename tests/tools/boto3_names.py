"""Puts objects with awkward names into a bucket with boto3, and reads each back twice: with boto3, and through a gate.

    boto3_names.py S3_URL BUCKET KEY_ID SECRET GATE_PORT GATE_HOST TOKEN COUNT

Each name goes to the gate in two spellings: with everything encoded that may be, and with as little as may be. The last
line is the number of objects, all of which were the same byte for byte.
"""

import hashlib
import http.client
import random
import sys
import urllib.parse

import boto3
from botocore.config import Config

s3_url, bucket, key_id, secret, gate_port, gate_host, token, count = sys.argv[1:]

# All that stands in a path as it is (RFC 3986, pchar).
PLAIN = "!$&'()*+,;=:@-._~/"
PIECES = [
    "a", "Z", "0", " ", "  ", "+", "%", "%20", "%2B", "100%", "!", "*", "'", "(", ")", "#", "?", "&", "=", ";", ":", "@",
    ",", "$", "~", "-", "_", "[", "]", "{", "}", "^", "`", "|", '"', "<", ">", "ä", "ß", "é", "e\u0301", "€", "日本", "🎬",
    "…", "\u200d", "\u00a0", "a=b", "x?y=z", ".a", "a.", "..a", "a..", "sub/dir", "sub dir/é", "X-Amz-Signature=0", "%zz",
]


def names(count):
    """Every piece alone, then random rows of them; never what two programs read in two ways."""
    dice = random.Random(42)
    seen = {}
    pieces = iter(PIECES)
    while len(seen) < count:
        piece = next(pieces, None)
        name = piece if piece is not None else "".join(dice.choices(PIECES, k=dice.randint(2, 6)))
        name = f"{len(seen):03}{name}.bin"
        decoded = name
        for _ in range(5):
            decoded = urllib.parse.unquote(decoded, errors="replace")
        harmless = decoded.count("/") == name.count("/") and "\ufffd" not in decoded and "//" not in name
        if harmless and all(part not in (".", "..") for part in name.split("/")):
            seen[name] = dice.randbytes(dice.randint(0, 5000))
    return seen


def through_gate(spelled):
    # The path is written as it is: a library would spell it anew.
    connection = http.client.HTTPConnection("127.0.0.1", int(gate_port), timeout=20)
    connection.putrequest("GET", f"/{spelled}?t={token}", skip_host=True, skip_accept_encoding=True)
    connection.putheader("Host", gate_host)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


client = boto3.client(
    "s3",
    endpoint_url=s3_url,
    aws_access_key_id=key_id,
    aws_secret_access_key=secret,
    region_name="us-east-1",
    config=Config(s3={"addressing_style": "path"}, proxies={}),
)
same = 0
for name, content in names(int(count)).items():
    client.put_object(Bucket=bucket, Key=name, Body=content)
    direct = client.get_object(Bucket=bucket, Key=name)["Body"].read()
    assert direct == content, f"{name!r}: the server itself gives other bytes"
    for spelled in (urllib.parse.quote(name, safe="/"), urllib.parse.quote(name, safe=PLAIN)):
        status, body = through_gate(spelled)
        assert status == 200, f"{name!r} as {spelled}: {status}"
        assert hashlib.sha256(body).digest() == hashlib.sha256(content).digest(), f"{name!r} as {spelled}: other bytes"
    same += 1
print(same)
