-- Import jobs, the history of every file, and what Orthanc holds of it.
SELECT 1;
