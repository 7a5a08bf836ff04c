"""moto_server with a clock that a test moves: the first argument is a file with the seconds by
which objects are younger than they are."""

import datetime
import pathlib
import sys

import moto.s3.models
from moto.server import main

ahead = pathlib.Path(sys.argv.pop(1))


def utcnow():
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    return now + datetime.timedelta(seconds=float(ahead.read_text()))


moto.s3.models.utcnow = utcnow
sys.exit(main())
