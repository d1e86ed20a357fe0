"""A part that several hosts share: a greeting at login, and a web server with one page."""

from anicca.declare import File, Part
from anicca.declare.services import nginx

GREETING = "hello I am a file\n"


def web(page: str) -> Part:
    return Part(
        packages=["curl"],
        files={"/etc/motd": File(GREETING)},
        parts=[nginx(page=page)],
    )
