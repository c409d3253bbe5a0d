-- The directories that the hospital's sensor watches, as they were seen last.
SELECT 1;
