#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""probe.py PORT PAYMENTS OUT - one request every 20 ms, each on a new connection; the result goes into OUT.

A line is: time (monotonic, s), 1 or 0 (answered or failed), latency in ms, what went wrong. Every fifth request
stores a payment, the others read one back and compare: a wrong answer counts as failed.
"""
import http.client
import sys
import time

PERIOD = 0.02


def ask(port, number, payments):
    name = f"seed-{number % payments + 1}"
    body = f"the payment {name}"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        if number % 5 == 0:
            connection.request("PUT", f"/payments/{name}", body, {"Connection": "close"})
        else:
            connection.request("GET", f"/payments/{name}", headers={"Connection": "close"})
        answer = connection.getresponse()
        text = answer.read().decode()
        if answer.status not in (200, 201):
            return f"status {answer.status}"
        return "" if answer.status == 201 or text == body else f"wrong body for {name}"
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__
    finally:
        connection.close()


def main():
    port, payments, number = int(sys.argv[1]), int(sys.argv[2]), 0
    due = time.monotonic()
    with open(sys.argv[3], "w", buffering=1, encoding="utf-8") as out:
        while True:
            began = time.monotonic()
            wrong = ask(port, number, payments)
            out.write(f"{began:.4f} {0 if wrong else 1} {(time.monotonic() - began) * 1000:.2f} {wrong}\n")
            number += 1
            due = max(due + PERIOD, time.monotonic())
            time.sleep(max(0, due - time.monotonic()))


main()
