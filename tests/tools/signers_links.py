"""Signs links as a backend does, with a vendor's own library where there is one to install.

    signers_links.py SIGNER '{"url": …, "until": …}'

Prints {"files": {name: content}, "links": [{what, url, cookie?, before}]}: the keys that a gate needs, and links, in each of
which the signature stands after `before`.

Bunny and Google publish functions to be copied, and no packages. What stands here for those was written from their documents,
apart from the product: docs.bunny.net/cdn/security/token-authentication, cloud.google.com/cdn/docs/using-signed-urls and
using-signed-cookies, cloud.google.com/media-cdn/docs/generate-tokens and create-signatures.
"""

import base64
import datetime
import hashlib
import hmac
import json
import os
import sys
import time
import urllib.parse

import boto3
from akamai.edgeauth import EdgeAuth
from botocore.config import Config
from botocore.signers import CloudFrontSigner
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa


def link(what, url, before, cookie=None):
    return {"what": what, "url": url, "before": before, "cookie": cookie}


def folder(url):
    return url[: url.rindex("/") + 1]


def path(url):
    return urllib.parse.urlsplit(url).path


def base64url(content, padded=True):
    text = base64.urlsafe_b64encode(content).decode()
    return text if padded else text.rstrip("=")


def cloudfront(url, until):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    signer = CloudFrontSigner(
        "K2JCJMDEHXQW5F", lambda message: key.sign(message, padding.PKCS1v15(), hashes.SHA1())
    )
    end = datetime.datetime.fromtimestamp(until, datetime.timezone.utc)
    start = datetime.datetime.fromtimestamp(until - 7200, datetime.timezone.utc)
    policy = signer.build_policy(folder(url) + "*", end, date_greater_than=start, ip_address="127.0.0.1/32")
    return {
        "files": {"cloudfront.pem": public.decode()},
        "links": [
            link("canned policy", signer.generate_presigned_url(url, date_less_than=end), "Signature="),
            link("a further parameter", signer.generate_presigned_url(url + "?a=b", date_less_than=end), "Signature="),
            link("custom policy", signer.generate_presigned_url(url, policy=policy), "Signature="),
        ],
    }


def s3_presigned(url, until, secret, region, version="s3v4"):
    parts = urllib.parse.urlsplit(url)
    bucket, _, key = parts.path[1:].partition("/")
    client = boto3.client(
        "s3",
        endpoint_url=f"{parts.scheme}://{parts.netloc}",
        aws_access_key_id="AKIAIOSFODNN7EXAMPLE",
        aws_secret_access_key=secret,
        region_name=region,
        config=Config(signature_version=version, s3={"addressing_style": "path"}),
    )
    wished = {"Bucket": bucket, "Key": urllib.parse.unquote(key)}
    attachment = {"ResponseContentDisposition": "attachment; filename=\"a b.pdf\""}

    def sign(more):
        return client.generate_presigned_url(
            "get_object", Params=wished | more, ExpiresIn=int(until - time.time())
        )

    return {
        "files": {"s3-link.key": secret},
        "links": [
            link("a link", sign({}), "Signature="),
            link("with another header for the answer", sign(attachment), "Signature="),
        ],
    }


def edge_auth(url, until):
    key = os.urandom(32).hex()
    one = EdgeAuth(key=key, end_time=until, escape_early=False).generate_url_token(path(url))
    many = EdgeAuth(key=key, end_time=until, payload="viewer-42").generate_acl_token(
        ["/trailers/*", folder(path(url)) + "*"]
    )
    return {
        "files": {"akamai.key": key},
        "links": [
            link("one path", f"{url}?__token__={one}", "hmac="),
            link("a list of paths", f"{url}?hdnts={many}", "hmac="),
            link("a cookie", url, "hmac=", cookie=f"hdnts={many}"),
        ],
    }


def bunny(url, until):
    """The three generations, as query and as a segment of the path."""
    key = "229248f0-f007-4bf9-ba1f-bbf1b4ad9d40"
    start = f"{urllib.parse.urlsplit(url).scheme}://{urllib.parse.urlsplit(url).netloc}"
    below = folder(path(url))

    def token(signed, parameters):
        text = "&".join(f"{name}={value}" for name, value in sorted(parameters.items()))
        mac = hmac.new(key.encode(), f"{signed}{until}{text}".encode(), hashlib.sha256).digest()
        return "HS256-" + base64url(mac, padded=False)

    def sha256(signed, text=""):
        return base64url(hashlib.sha256(f"{key}{signed}{until}{text}".encode()).digest(), padded=False)

    md5 = base64url(hashlib.md5(f"{key}{path(url)}{until}".encode()).digest(), padded=False)
    escaped = urllib.parse.quote(below, safe="")
    return {
        "files": {"bunny.key": key},
        "links": [
            link("HMAC", f"{url}?token={token(path(url), {})}&expires={until}", "token=HS256-"),
            link(
                "HMAC over a folder, in the path",
                f"{start}/bcdn_token={token(below, {'token_path': below})}&token_path={escaped}&expires={until}{path(url)}",
                "bcdn_token=HS256-",
            ),
            link("SHA-256", f"{url}?token={sha256(path(url))}&expires={until}", "token="),
            link(
                "SHA-256 over a folder, in the path",
                f"{start}/bcdn_token={sha256(below, f'token_path={below}')}&token_path={escaped}&expires={until}{path(url)}",
                "bcdn_token=",
            ),
            link("MD5", f"{url}?token={md5}&expires={until}", "token="),
        ],
    }


def cloud_cdn(url, until):
    key = os.urandom(16)

    def sign(text):
        return base64url(hmac.new(key, text.encode(), hashlib.sha1).digest())

    whole = f"{url}?Expires={until}&KeyName=media-key"
    prefix = base64url(folder(url).encode())
    policy = f"URLPrefix={prefix}&Expires={until}&KeyName=media-key"
    cookie = policy.replace("&", ":")
    return {
        "files": {"media-key.key": base64url(key)},
        "links": [
            link("a URL", f"{whole}&Signature={sign(whole)}", "&Signature="),
            link("a prefix", f"{url}?{policy}&Signature={sign(policy)}", "&Signature="),
            link("a cookie", url, ":Signature=", cookie=f"Cloud-CDN-Cookie={cookie}:Signature={sign(cookie)}"),
        ],
    }


def media_cdn(url, until):
    key = ed25519.Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    shared = os.urandom(32)
    start = f"{urllib.parse.urlsplit(url).scheme}://{urllib.parse.urlsplit(url).netloc}"

    def sign(text):
        return base64url(key.sign(text.encode()))

    def token(scope, signed=None):
        seal = sign(f"{signed or scope}~Expires={until}").rstrip("=")
        return f"{scope}~Expires={until}~Signature={seal}"

    globs = f"PathGlobs={folder(path(url))}*~Expires={until}"
    mac = hmac.new(shared, globs.encode(), hashlib.sha256).hexdigest()
    whole = f"{url}?Expires={until}&KeyName=media-key"
    prefix = base64url(folder(url).encode())
    policy = f"URLPrefix={prefix}&Expires={until}&KeyName=media-key"
    cookie = policy.replace("&", ":")
    segment = f"edge-cache-token=Expires={until}&KeyName=media-key"
    component = f"{folder(url)}{segment}"
    full = token("FullPath", f"FullPath={path(url)}")
    return {
        "files": {"media-key.pub": base64url(public), "shared.key": base64url(shared)},
        "links": [
            link("a URL", f"{whole}&Signature={sign(whole)}", "&Signature="),
            link("a prefix", f"{url}?{policy}&Signature={sign(policy)}", "&Signature="),
            link("a cookie", url, ":Signature=", cookie=f"Edge-Cache-Cookie={cookie}:Signature={sign(cookie)}"),
            link(
                "in the path",
                f"{component}&Signature={sign(component)}/{url[url.rindex('/') + 1:]}",
                "&Signature=",
            ),
            link("token, one path", f"{url}?edge-cache-token={full}", "~Signature="),
            link("token, paths", f"{url}?hdnts={token(f'PathGlobs={folder(path(url))}*')}", "~Signature="),
            link("token under a MAC", f"{url}?edge-cache-token={globs}~hmac={mac}", "~hmac="),
            link("token, a cookie", url, "~Signature=", cookie=f"edge-cache-token={full}"),
        ],
    }


signer, wish = sys.argv[1:]
print(json.dumps(globals()[signer](**json.loads(wish))))
