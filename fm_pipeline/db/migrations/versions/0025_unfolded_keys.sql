-- The keys that `nexus/crosswalk.py` still has to fold. Usually there are none, so to look for them costs nothing.
CREATE INDEX crosswalk_unfolded ON fm_pipeline.crosswalk (entity)
    WHERE filemaker_key <> lower(btrim(filemaker_key) COLLATE "default");
