-- What makes a reimport safe for the night: backups, plans, the audit trail, progress.

-- A backup that was written, restored into a scratch schema and found equal.
CREATE TABLE fm_pipeline.backups (
    id            uuid PRIMARY KEY,
    run_id        text,
    created_at    timestamptz NOT NULL,
    folder        text NOT NULL,
    encrypted     boolean NOT NULL,
    bytes         bigint NOT NULL,
    digests       jsonb NOT NULL,                -- by table: [rows, hash]
    verified_at   timestamptz NOT NULL
);

-- A plan is a run that was rolled back. The real run takes its id and is refused if the inputs have changed.
CREATE TABLE fm_pipeline.plans (
    id            uuid PRIMARY KEY,
    run_id        text,
    requested_by  text NOT NULL,
    created_at    timestamptz NOT NULL,
    phases        text[] NOT NULL,
    inputs        jsonb NOT NULL,                -- digests of staging and target, fingerprint of the schema, settings
    report        jsonb NOT NULL
);

-- Every attempt, also those that were refused. Rows are added, never changed or deleted.
CREATE TABLE fm_pipeline.audit (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at            timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor         text NOT NULL,
    action        text NOT NULL,                 -- plan | reimport | backup | restore | prune
    outcome       text NOT NULL CHECK (outcome IN ('started', 'done', 'refused', 'failed', 'cancelled')),
    plan_id       uuid,
    run_id        text,
    detail        text NOT NULL DEFAULT ''       -- our own sentences, which hold no patient data
);
CREATE FUNCTION fm_pipeline.refuse_change() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION USING MESSAGE = TG_TABLE_NAME || ' is append-only'; END $$;
CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON fm_pipeline.audit
    FOR EACH STATEMENT EXECUTE FUNCTION fm_pipeline.refuse_change();

-- Where a run is. Written outside the transaction of the reimport, so that others can read it meanwhile.
CREATE TABLE fm_pipeline.progress (
    run_id        text NOT NULL,
    step          text NOT NULL,                 -- an asset or "phase 3"
    position      integer NOT NULL,              -- order within the run
    done          bigint NOT NULL,
    total         bigint,
    errors        bigint NOT NULL DEFAULT 0,
    started_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    finished_at   timestamptz,
    PRIMARY KEY (run_id, step)
);

-- Which plan a reimport carried out, and the backup that was made before it.
ALTER TABLE fm_pipeline.reimports
    ADD COLUMN plan_id uuid, ADD COLUMN backup_id uuid, ADD COLUMN requested_by text NOT NULL DEFAULT '';
