"""Running an import job: `run_job.py` starts and finishes it.

One thread (`coordinator.py`) distributes the files and writes history. Worker threads (`workers.py`) read a file,
decide its outcome (`decide.py`) and send it. `verify.py` compares Orthanc with history at the end.
"""
