"""Why libpq got no connection where a setting of ours or of the server is at fault, and the next step.

libpq gives no SQLSTATE for a connection that was refused: its words are all there is. A server that speaks another
language than English counts as unavailable.
"""

import re

STRING = "the connection string"
CAUSES = tuple(
    (re.compile(said), advice)
    for said, advice in (
        (r"password authentication failed", f"correct the user or the password in {STRING}"),
        (r"no password supplied", f"add the password to {STRING}"),
        (r"certificate verify failed", f"name the CA that signed the server's certificate as sslrootcert in {STRING}"),
        (r"does not match host name", f"connect by a name that the server's certificate has: correct host in {STRING}"),
        (r"root certificate file", f"name a file with the CA's certificate as sslrootcert in {STRING}"),
        (r"no encryption", f"the server wants TLS: add sslmode=verify-full and sslrootcert to {STRING}"),
        (r"does not support SSL", f"switch ssl on at the server, or correct sslmode in {STRING}"),
        (r"channel binding", f"let the server ask for SCRAM over TLS, or correct channel_binding in {STRING}"),
        (r"(?:certificate file|private key file)", f"correct sslcert and sslkey in {STRING}"),
        (r"SSL error", f"see whether server and client agree on TLS: correct the server, or {STRING}"),
        (r"(?:invalid|weak) \w*ssl\w*", f"correct the values that begin with ssl in {STRING}"),
        (r"no pg_hba|authentication failed", "let the server's pg_hba.conf admit this user, database and address"),
        (r"permission denied|not permitted", "grant the role the right to connect, and to log in"),
        (r"does not exist", f"make what is missing, or correct {STRING}"),
    )
)
"""What libpq or the server says, and what to do; the first that is found counts, in whichever of several tries."""
LEAD = re.compile(r'^.*?(?:(?:port \d+|socket "[^"]*") failed|is bad): (?:FATAL: +)?')
CONFIDENTIAL = re.compile(r'"[^"]*(?:password|[&;=@])[^"]*(?:"|$)')
"""A quoted value that may hold more than its name says: a string that was put together wrongly."""


def refusal(text: str) -> str:
    """What was said and the next step, for libpq's text; empty where that says nothing of a misconfiguration."""
    for cause, advice in CAUSES:
        for line in text.splitlines():
            if cause.search(line):
                return f"{CONFIDENTIAL.sub('(hidden)', LEAD.sub('', line))}: {advice}"
    return ""
