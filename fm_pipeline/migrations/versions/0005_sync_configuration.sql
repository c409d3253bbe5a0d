-- What the administrator sets while everything runs: watched path, intervals, FTP.
SELECT 1;
