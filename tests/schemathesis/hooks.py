"""What schemathesis cannot know of the API from its description: texts of our own formats, and that the
live stream has no end unless one is asked for."""

import schemathesis
from hypothesis import strategies

# Of the stream, in place of all that will ever be said.
MESSAGES = 2

PLACES = ["curloc", "userloc", "goloc", "startloc", "stack"]
PATTERNS = [r"^main\.", "net/http", r"main\.go:\d+$", "a|b"]

criteria = strategies.one_of(
    strategies.sampled_from(
        [
            "user",
            "system",
            "running",
            "state waiting",
            "state=runnable",
            "reason chan send",
            "label tenant",
            "label tenant=x",
            "chan 0xc000012345",
            "waiting-longer 1m",
            "created-by 1",
            "goid 1",
            "text main",
        ]
    ),
    strategies.builds(
        "{} {}".format,
        strategies.sampled_from(PLACES),
        strategies.sampled_from(PATTERNS),
    ),
)

groups = strategies.sampled_from(
    ["none", "stack", "state", "reason", "label tenant", "chan", "wait", *PLACES[:4]]
)

schemathesis.openapi.format("gotrace-criterion", criteria)
schemathesis.openapi.format("gotrace-group", groups)


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.operation.path != "/api/v1/stream":
        return
    query = case.query if isinstance(case.query, dict) else {}
    if "limit" not in query or is_large(query["limit"]):
        case.query = {**query, "limit": MESSAGES}


def is_large(limit):
    """Whether it is a valid number, as such or spelled out, of more messages."""
    return str(limit).isdecimal() and int(limit) > MESSAGES
