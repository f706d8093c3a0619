"""Answers for one name, and badly for the cluster's search domains: ADDRESS NAME ADDRESS-OF-NAME.

A namespace's own domain answers without data and the others with SERVFAIL, after which musl asks no further.
"""

import socket
import struct
import sys

here, name, its_address = sys.argv[1:]
A, NOERROR, SERVFAIL, NXDOMAIN = 1, 0, 2, 3


def answer(query):
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode().lower())
        at += 1 + query[at]
    question = query[12 : at + 5]
    (kind,) = struct.unpack("!H", query[at + 1 : at + 3])
    asked, records = ".".join(labels), b""
    if asked == name:
        code = NOERROR
        if kind == A:
            records = struct.pack("!HHHIH", 0xC00C, A, 1, 5, 4) + socket.inet_aton(its_address)
    elif asked.endswith(".svc.cluster.local"):
        code = NOERROR
    elif asked.endswith(".cluster.local"):
        code = SERVFAIL
    else:
        code = NXDOMAIN
    print(asked, kind, code, flush=True)
    flags = 0x8180 | code
    return query[:2] + struct.pack("!HHHHH", flags, 1, 1 if records else 0, 0, 0) + question + records


server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind((here, 53))
while True:
    query, client = server.recvfrom(4096)
    server.sendto(answer(query), client)
