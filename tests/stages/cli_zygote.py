"""Runs `tcam-cache` in forked processes that can be killed; a script that takes one JSON line per order.

A line {"runs": [args, ...], "kill_after": seconds or null, "number": signal} runs the command line at once in
children that have torch loaded already, and sends each that signal (default: 9) after that time; the answer
is the list of their exit statuses (-9: killed).
"""

import json
import os
import signal
import sys
import time

import torch

from tcam_cache.models import Classifier
from tcam_cache.stages import build, train  # noqa: F401 (loaded once, before the forks)
from tcam_cache.training import loop
from tcam_cache_cli.main import main

# What making a network and an optimiser loads, too.
torch.optim.SGD(Classifier("squeezenet1_1", ("a", "b")).parameters(), lr=1.0)
os.fsync = lambda descriptor: None  # A kill loses nothing that the kernel was given.
loop.draw_curves = lambda log: b""  # Drawing takes as long as a small fit itself.


def start(args):
    if child := os.fork():
        return child
    # A suite that runs in the background inherits a shell's "ignore Ctrl-C".
    signal.signal(signal.SIGINT, signal.default_int_handler)
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    try:
        main(args)
    except SystemExit as end:
        # At once: taking torch down costs twice what a small build does.
        os._exit(end.code or 0)


def run(runs, kill_after, number=signal.SIGKILL):
    children = [start(args) for args in runs]
    if kill_after is not None:
        time.sleep(kill_after)
        for child in children:
            os.kill(child, number)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


for line in sys.stdin:
    print(json.dumps(run(**json.loads(line))), flush=True)
