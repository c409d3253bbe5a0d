"""fm_pipeline carries a clinic's data from FileMaker into Nexus. Nothing happens at import."""
