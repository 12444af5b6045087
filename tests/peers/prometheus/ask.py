#!/usr/bin/env python3
"""Asks the Prometheus on 127.0.0.1:19098.

  ask.py firing             the alerts that fire, one line each: NAME and its labels
  ask.py dashboard FILE     runs every query of a dashboard; exit code 1 when one is refused, or hardly any has an answer
  ask.py documented FILE    every metric of the agent stands in this page
"""

import json
import re
import sys
import urllib.error
import urllib.parse
import urllib.request


def get(path, **parameters):
    address = f"http://127.0.0.1:19098/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    try:
        with urllib.request.urlopen(address, timeout=20) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error)


def queries(value):
    if isinstance(value, dict):
        if "expr" in value:
            yield value["expr"]
        for inner in value.values():
            yield from queries(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from queries(inner)


def firing():
    for alert in get("alerts")["data"]["alerts"]:
        if alert["state"] == "firing":
            labels = {key: value for key, value in alert["labels"].items() if key not in ("alertname", "job", "instance", "severity")}
            print(alert["labels"]["alertname"], *(f'{key}="{value}"' for key, value in sorted(labels.items())))


def dashboard(path):
    with open(path, encoding="utf-8") as file:
        found = list(queries(json.load(file)))
    answered, refused = 0, []
    for query in found:
        for name, value in (("$job", "auditferry"), ("$instance", ".*"), ("$__rate_interval", "1m")):
            query = query.replace(name, value)
        answer = get("query", query=query)
        if answer["status"] != "success":
            refused.append(f'{query}: {answer.get("error")}')
        elif answer["data"]["result"]:
            answered += 1
    print(f"{len(found)} queries, {answered} with an answer", *refused, sep="\n  ")
    return bool(refused) or answered < len(found) / 2


def documented(path):
    with open(path, encoding="utf-8") as file:
        page = file.read()
    names = [name for name in get("label/__name__/values")["data"] if name.startswith("auditferry_")]
    missing = [name for name in names if not re.search(rf"`{name}`", page)]
    print(f"{len(names)} metrics", *missing)
    return bool(missing) or len(names) < 30


if __name__ == "__main__":
    what, *paths = sys.argv[1:]
    sys.exit({"firing": firing, "dashboard": dashboard, "documented": documented}[what](*paths) or 0)
