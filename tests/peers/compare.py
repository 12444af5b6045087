#!/usr/bin/env python3
"""Compares what a peer stored with what it should have.

  compare.py file REPORT FILE                   a file sink's lines (codec ocsf) with the list of all records that `simulate` published
  compare.py kafka FILE RECORDS TOPIC           what kafka.sh read of a topic with the lines of a file sink
  compare.py rsyslog|syslog-ng FILE STORED INPUT [--repeats]
  compare.py hec FILE STORED SOURCE [--repeats]

FILE holds the same codec as the peer got. Each event must be there exactly once (--repeats: at least once), nothing else may be, and the
bytes of the body must be equal, as JSON at a HEC receiver, which reads it. Prints one line; exit code 1 when something differs.
"""

import datetime
import json
import os
import re
import sys
from collections import Counter

# a field of CEF's extension; a backslash escapes, and ids have none
EXTERNAL_ID = re.compile(rb" externalId=([0-9a-f-]{36})")
SYSLOG_ID = re.compile(r'^\[auditferry@32473 id="([0-9a-f-]{36})" tenant="([^"]*)" product="([^"]*)" op="((?:[^"\\]|\\.)*)"\]$')
LEVELS = {1: 6, 2: 5, 3: 4, 4: 3, 5: 2}


class Wrong(Exception):
    """What differs, in words."""


def lines(path):
    with open(path, "rb") as file:
        return [line.rstrip(b"\n") for line in file]


def event_id(body):
    """The event's id in a body of codec ocsf or cef."""
    if body.startswith(b"CEF:"):
        found = EXTERNAL_ID.search(body)
        return found.group(1).decode() if found else None
    return json.loads(body)["metadata"]["uid"]


def by_id(path):
    """The lines of a file sink by their events' ids, each once."""
    found = {}
    for line in lines(path):
        uid = event_id(line)
        if uid is None or uid in found:
            raise Wrong(f"{path}: {'no id in' if uid is None else 'twice:'} {line[:200]!r}")
        found[uid] = line
    if not found:
        raise Wrong(f"{path} is empty: nothing can be compared")
    return found


def moment(text):
    """Milliseconds since 1970 of an RFC 3339 time."""
    fraction = re.sub(r"\.(\d{1,6})\d*", lambda it: "." + it.group(1).ljust(6, "0"), text.replace("Z", "+00:00"))
    return round(datetime.datetime.fromisoformat(fraction).timestamp() * 1000)


def same(name, expected, got):
    if expected != got:
        raise Wrong(f"{name}: expected {expected!r:.300}, stored {got!r:.300}")


def murmur2(key):
    """Kafka's own hash of a key, as its Java client has it."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = 0x9747B28C ^ len(key)
    whole = len(key) // 4 * 4
    for at in range(0, whole, 4):
        k = int.from_bytes(key[at : at + 4], "little") * m & mask
        h = (h * m & mask) ^ ((k ^ k >> 24) * m & mask)
    if whole < len(key):
        h = (h ^ int.from_bytes(key[whole:], "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15


def file(report, path):
    """Every published record of the selection, and no other, by Microsoft's id."""
    with open(report, encoding="utf-8") as text:
        published = Counter(json.load(text)["selected"])
    stored = Counter(json.loads(line)["metadata"]["original_event_uid"] for line in by_id(path).values())
    if stored != published:
        raise Wrong(f"{len(published - stored)} records are missing, {len(stored - published)} are not published: {list((published - stored) + (stored - published))[:3]}")
    return f"file: {sum(stored.values())} records, as published"


def kafka(path, records, topic):
    expected, got = by_id(path), Counter()
    started = os.path.getmtime(os.path.join(os.path.dirname(path), "auditferry.toml")) * 1000
    partitions = set()
    for line in lines(records):
        created, partition, headers, key, body = line.split(b"\t", 4)
        headers = dict(part.split(":", 1) for part in headers.decode().split(","))
        uid = event_id(body)
        got[uid] += 1
        same("body", expected.get(uid), body)
        event = json.loads(body)
        same("headers", ["content-type", "event_id", "event_time", "schema"], sorted(headers))
        same("event_id", uid, headers["event_id"])
        same("event_time", event["time"], moment(headers["event_time"]))
        same("schema", "ocsf/" + event["metadata"]["version"], headers["schema"])
        same("content-type", "application/json", headers["content-type"])
        same("the key's tenant", event["metadata"]["tenant_uid"], key.decode().split("/")[0])
        same("partition", (murmur2(key) & 0x7FFFFFFF) % 3, int(partition.split(b":")[1]))
        partitions.add(partition)
        if int(created.split(b":")[1]) < started:
            raise Wrong(f"a record has the time {created.decode()}, from before it was sent")
    return counted(topic, expected, got, False) + f", {len(partitions)} partitions"


def rsyslog(path, stored, source, repeats):
    for line in lines(stored):
        part = json.loads(line)
        if part["input"] == source:
            same("version", "1", part["version"])
            yield part["sd"], int(part["pri"]), part["host"], part["app"], part["msgid"], part["time"], part["body"].encode()


def syslog_ng(path, stored, source, repeats):
    facilities, levels = {"local0": 16}, ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"]
    for line in lines(stored):
        part = json.loads(line)
        if source in part["TAGS"].split(","):
            sd = part["_SDATA"]["auditferry@32473"]
            values = {key: re.sub(r'(["\\\]])', r"\\\1", value) for key, value in sd.items()}
            text = '[auditferry@32473 id="{id}" tenant="{tenant}" product="{product}" op="{op}"]'.format(**values)
            pri = facilities[part["FACILITY"]] * 8 + levels.index(part["PRIORITY"])
            yield text, pri, part["HOST"], part["PROGRAM"], part["MSGID"], part["ISODATE"], part["MESSAGE"].encode()


def syslog(reader, path, stored, source, repeats):
    expected, got = by_id(path), Counter()
    for sd, pri, host, app, msgid, time, body in reader(path, stored, source, repeats):
        uid = event_id(body)
        got[uid] += 1
        same("body", expected.get(uid), body)
        found = SYSLOG_ID.match(sd)
        if not found:
            raise Wrong(f"structured data: {sd!r}")
        same("id of the structured data", uid, found.group(1))
        same("host", found.group(2), host)
        same("app", "auditferry", app)
        operation = re.sub(r"\\(.)", r"\1", found.group(4))
        same("msgid", re.sub(r"[^!-~]", "_", operation[:32]), msgid)
        if not body.startswith(b"CEF:"):
            event = json.loads(body)
            same("time", event["time"], moment(time))
            same("tenant", event["metadata"]["tenant_uid"], host)
            same("priority", 16 * 8 + LEVELS[event["severity_id"]], pri)
    return counted(source, expected, got, repeats)


def read_by_tenzir(value):
    """A value as this receiver gives it back: it takes times and addresses for what they look like, and writes them anew."""
    if isinstance(value, dict):
        return {key: read_by_tenzir(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [read_by_tenzir(inner) for inner in value]
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", value):
        return value + "Z"
    if isinstance(value, str) and re.fullmatch(r"::ffff:[\d.]+", value):
        return value.removeprefix("::ffff:")
    return value


def difference(expected, got, place="event"):
    """Fails at the first place where two values differ."""
    if isinstance(expected, dict) and isinstance(got, dict):
        same(f"keys of {place}", sorted(expected), sorted(got))
        for key in expected:
            difference(expected[key], got[key], f"{place}.{key}")
    elif isinstance(expected, list) and isinstance(got, list) and len(expected) == len(got):
        for left, right in zip(expected, got):
            difference(left, right, f"{place}[]")
    else:
        same(place, expected, got)


def hec(path, stored, source, repeats):
    expected, got = by_id(path), Counter()
    for line in lines(stored):
        part = json.loads(line)
        if part["source"] != source:
            continue
        uid = part["fields"]["event_id"]
        got[uid] += 1
        wanted = expected.get(uid, b"null")
        # text stays what it is; JSON is read and written anew by the receiver
        text = wanted.decode() if wanted.startswith(b"CEF:") else json.loads(wanted)
        difference(read_by_tenzir(text), part["event"])
        if isinstance(text, dict):
            same("time", text["time"], moment(part["time"]))
            same("host", text["metadata"]["tenant_uid"], part["host"])
            same("schema", "ocsf/" + text["metadata"]["version"], part["fields"]["schema"])
            same("sourcetype", "auditferry:ocsf", part["sourcetype"])
    return counted(source, expected, got, repeats)


def counted(name, expected, got, repeats):
    missing, others = set(expected) - set(got), set(got) - set(expected)
    twice = sum(got.values()) - len(got)
    if missing or others or (twice and not repeats):
        raise Wrong(f"{name}: of {len(expected)} events {len(missing)} are missing, {len(others)} are not expected, {twice} repeats; {sorted(missing)[:3]}")
    return f"{name}: {len(expected)} events, all there and equal, {twice} repeats"


def main(arguments):
    repeats = "--repeats" in arguments
    what, *paths = [it for it in arguments if it != "--repeats"]
    checks = {
        "file": lambda: file(*paths),
        "kafka": lambda: kafka(*paths),
        "rsyslog": lambda: syslog(rsyslog, *paths, repeats),
        "syslog-ng": lambda: syslog(syslog_ng, *paths, repeats),
        "hec": lambda: hec(*paths, repeats),
    }
    try:
        print("ok:", checks[what]())
    except Wrong as wrong:
        print(f"FAILED: {what} {paths[-1]}: {wrong}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
