"""Builds caches in forked processes that can be killed; run as a script, it takes one JSON line per run.

A line {"path": P, "shards": [[i, N], ...], "kill_after": seconds or null} starts one builder per shard at
once and kills them all after that time; the answer is the list of their exit statuses (-9: killed).
"""

import json
import os
import signal
import sys
import time

KILL_LENGTHS = (3, 128, 129, 40, 1, 200, 60, 300, 17, 90)


def start(path, shard, build_all, plan):
    child = os.fork()
    if child:
        return child
    build_all(path, plan, {"classifier.pt": bytes(50_000)}, shard)
    os._exit(0)


def finish(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main():
    # Found beside this script, only when it is run as one.
    from conftest import build_all, plan_of

    os.fsync = lambda descriptor: None  # A kill loses nothing that the kernel was given.
    plan = plan_of(KILL_LENGTHS)
    for line in sys.stdin:
        order = json.loads(line)
        children = [start(order["path"], tuple(shard), build_all, plan) for shard in order["shards"]]
        if order["kill_after"] is not None:
            time.sleep(order["kill_after"])
            for child in children:
                os.kill(child, signal.SIGKILL)
        print(json.dumps([finish(child) for child in children]), flush=True)


if __name__ == "__main__":
    main()
