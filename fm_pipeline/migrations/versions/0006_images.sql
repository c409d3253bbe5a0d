-- Image metadata of the CSV link, the ledger of copies, and the images that were linked.
SELECT 1;
