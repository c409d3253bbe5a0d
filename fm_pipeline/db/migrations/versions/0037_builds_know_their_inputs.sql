-- It could outlive a build by a job with other settings. What a build is made from is in `built_entities`.
DROP TABLE fm_pipeline.staged_inputs;
