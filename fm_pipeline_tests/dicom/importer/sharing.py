"""Processes that share a job in chunks, forked from one, because an interpreter with everything imported takes seconds.

`python -m fm_pipeline_tests.dicom.importer.sharing JOB PROCESSES`: prints their ids, and ends when all have ended.
"""

from __future__ import annotations

import os
import sys

from fm_pipeline.dicom.importer.run_chunks import ClaimTimes, run_chunks
from fm_pipeline.settings import load_settings

TIMES = ClaimTimes(heartbeat=0.2, silent=2.0)


def main() -> int:
    """Fork, and wait."""
    job_id, processes = int(sys.argv[1]), int(sys.argv[2])
    settings = load_settings(_env_file=None)
    for _ in range(processes):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                run_chunks(settings, job_id, times=TIMES)
                code = 0
            finally:
                os._exit(code)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()
    codes = [os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(processes)]
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
