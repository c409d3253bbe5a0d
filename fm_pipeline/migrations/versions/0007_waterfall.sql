-- Image records of FileMaker's containers, and how far each of them has come.
SELECT 1;
