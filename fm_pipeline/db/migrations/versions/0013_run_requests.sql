-- Who asked for a run of Dagster, as the console's login or token says it. Written by the console when the run is
-- queued; a run's configuration and tags say nothing about it. Rows are added, never changed or deleted.
CREATE TABLE fm_pipeline.run_requests (
    run_id        text PRIMARY KEY,
    actor         text NOT NULL,
    at            timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TRIGGER run_requests_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON fm_pipeline.run_requests
    FOR EACH STATEMENT EXECUTE FUNCTION fm_pipeline.refuse_change();
