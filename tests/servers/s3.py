"""An S3 server (versitygw on plain files), once per test run: `s3()`."""

from __future__ import annotations

import functools
import http.client
import json
import os
import ssl
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from tests.servers.go import built, require_go
from tests.servers.process import Server, free_ports

VERSION = "1.8.0"
_PACKAGE = f"github.com/versity/versitygw/cmd/versitygw@v{VERSION}"
ACCESS_KEY = "heliograph-tests"
SECRET_KEY = "a-secret-of-nobody"
READER_ACCESS_KEY = "heliograph-reader"
READER_SECRET_KEY = "a-secret-of-a-reader"


@dataclass(frozen=True, slots=True)
class S3Server:
    """A running server. Its one other user, READER_ACCESS_KEY, has only the rights that a bucket's policy gives."""

    url: str
    access_key: str
    secret_key: str
    server: Server
    data: Path
    """A folder per bucket; it outlives the process."""

    def make_bucket(self, name: str) -> str:
        """An empty bucket of one's own."""
        (self.data / name).mkdir()
        return name

    def make_read_only_bucket(self, name: str) -> str:
        """A bucket that READER_ACCESS_KEY may list and read, but not write."""
        self.make_bucket(name)
        allowed = {
            "Effect": "Allow",
            "Principal": {"AWS": [READER_ACCESS_KEY]},
            "Action": ["s3:GetObject", "s3:ListBucket"],
            "Resource": [f"arn:aws:s3:::{name}", f"arn:aws:s3:::{name}/*"],
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
        self.client().put_bucket_policy(Bucket=name, Policy=policy)
        return name

    def client(self) -> Any:
        """The vendor's client with all rights, for looking behind the adapter."""
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}),
        )


@functools.cache
def s3() -> S3Server:
    """The one that all tests share: use buckets or prefixes of your own. Skips where Go is missing."""
    require_go()
    return start_s3()


def start_s3(certificate: Path | None = None, key: Path | None = None) -> S3Server:
    """A server of one's own, to kill and start again with its data; it speaks TLS when it is given a certificate."""
    require_go()
    program = built(f"versitygw-{VERSION}", _PACKAGE)
    folder = Path(tempfile.mkdtemp(prefix="heliograph-s3-"))
    for name in ("data", "users"):
        (folder / name).mkdir()
    (port,) = free_ports(1)
    switches = ["--keep-alive", "--quiet", "--health", "/_health", "--iam-dir", str(folder / "users")]
    if certificate is not None and key is not None:
        switches += ["--cert", str(certificate), "--key", str(key)]
    command = [str(program), "--port", f"127.0.0.1:{port}", *switches, "posix", str(folder / "data")]
    env = {**os.environ, "ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY}
    server = Server(command, folder, lambda _: _answers(port, certificate is not None), env)
    url = f"{'http' if certificate is None else 'https'}://127.0.0.1:{port}"
    _add_reader(program, url)
    return S3Server(url, ACCESS_KEY, SECRET_KEY, server, folder / "data")


def _add_reader(program: Path, url: str) -> None:
    asked = ["admin", "--access", ACCESS_KEY, "--secret", SECRET_KEY, "--endpoint-url", url, "--allow-insecure"]
    user = ["create-user", "--access", READER_ACCESS_KEY, "--secret", READER_SECRET_KEY, "--role", "user"]
    subprocess.run([str(program), *asked, *user], check=True, capture_output=True, timeout=30)


def _answers(port: int, tls: bool) -> bool:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = (
        http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=context)
        if tls
        else http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    )
    try:
        connection.request("GET", "/_health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
