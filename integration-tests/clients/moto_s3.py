"""moto_server as S3 is where tests look closely: its clock can be moved, and puts come one at a time.

The first argument is a file with the seconds by which objects are younger than they are. Amazon's
S3 decides `If-None-Match: *` atomically; moto looks for the object and then puts it, so that two
requests could both be told that they were first."""

import datetime
import pathlib
import sys
import threading

import moto.s3.models
from moto.s3.responses import S3Response
from moto.server import main

ahead = pathlib.Path(sys.argv.pop(1))
one_at_a_time = threading.RLock()
put = S3Response._key_response_put


def utcnow():
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    return now + datetime.timedelta(seconds=float(ahead.read_text()))


def atomic_put(self, *args, **kwargs):
    with one_at_a_time:
        return put(self, *args, **kwargs)


moto.s3.models.utcnow = utcnow
S3Response._key_response_put = atomic_put
sys.exit(main())
