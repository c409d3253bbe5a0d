"""Phase 0 of the import sequence: everything that can be known before anything is read or written."""
