"""An import job, carried out: `run.py` begins and ends it.

One thread (`coordinator.py`) deals out the files and writes history; the others (`workers.py`) read a file, decide
(`decide.py`) and send it. `verify.py` compares Orthanc with the history at the end.
"""
