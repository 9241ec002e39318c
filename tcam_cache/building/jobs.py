"""A build over several processes, on this machine or on a dask cluster, through one joblib call."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

import joblib
import torch

from tcam_cache.building.builder import Builder, Counts
from tcam_cache.building.frames import store_frames
from tcam_cache.cache import CachePlan, CamWriter
from tcam_cache.config import BuildConfig
from tcam_cache.devices import worker_count
from tcam_cache.processes import from_here, worker_pool
from tcam_cache.records import Shot

# Several tasks per process to balance the load; short tasks so that the progress bar moves.
TASKS_A_JOB, LARGEST_TASK = 4, 2048


def build_in_jobs(
    config: BuildConfig, plan: CachePlan, shots: Sequence[Shot], on_frames: Callable[[int], object]
) -> Counts:
    """Store the CAMs of shots with several processes.

    Only settings and shot ids are sent: every process opens the data set, the classifier and the cache for
    itself, and keeps them for its next task.

    Raises:
        ConfigError: no scheduler with workers answers at the address.
        ExtraError: dask is not installed.
        WorkerError: a process was killed.
    """
    # Processes keep what they have opened, also when the caller has moved to another folder since.
    counts, config = Counts(), config.absolute()
    with worker_pool(config.jobs, config.scheduler, "generator_unordered") as pool:
        jobs = pool.n_jobs
        if config.threads is None and config.backend == "loky":
            config = replace(config, threads=max(1, (os.cpu_count() or 1) // jobs))
        limit = min(LARGEST_TASK, sum(map(len, shots)) // (TASKS_A_JOB * jobs) + 1)
        # The machines of a cluster need not have this folder.
        task = joblib.delayed(from_here(_build_share) if config.backend == "loky" else _build_share)
        tasks = (task(config, plan.fingerprint, share, jobs) for share in _shares(shots, limit))
        for seen, done in pool(tasks):
            counts += done
            on_frames(seen)
    return counts


def _shares(shots: Sequence[Shot], limit: int) -> Iterator[list[str]]:
    """Cut shots into lists of ids, each of at least `limit` frames but the last."""
    share, frames = [], 0
    for shot in shots:
        share.append(shot.id)
        frames += len(shot)
        if frames >= limit:
            yield share
            share, frames = [], 0
    if share:
        yield share


def _build_share(
    config: BuildConfig, fingerprint: str, shot_ids: Sequence[str], jobs: int
) -> tuple[int, Counts]:
    builder, writer = _opened(config, fingerprint)
    wanted = set(shot_ids)
    shots = [shot for shot in builder.plan.shots if shot.id in wanted]
    # Decoding processes are divided among the jobs; dask's threads must not fork.
    workers = 0 if config.backend == "dask" else worker_count(config.workers) // jobs
    counts = builder.build(shots, writer, workers, lambda frames: None)
    if config.frames:
        arguments = writer, config.frame_size, workers, lambda frames: None, counts.faults
        counts += Counts(faults=store_frames(shots, builder.source, *arguments))
    return sum(map(len, shots)), counts


# The fingerprint is a key of the memo: with equal settings the files may have changed.
@lru_cache(maxsize=1)
def _opened(config: BuildConfig, fingerprint: str) -> tuple[Builder, CamWriter]:
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    builder = Builder.open(config)
    return builder, CamWriter.create(config.out, builder.plan)
