"""The import sequence as calls, for commands and assets: read and stage, plan, reimport; progress and reports."""
