-- What the pipeline keeps for itself, in its own schema of the Nexus database.
-- Nothing here is read by Nexus, and the pipeline makes no table anywhere else.

-- The extraction that source_records of an entity come from. One row an entity: the newest whole one.
CREATE TABLE fm_pipeline.source_extractions (
    entity        text PRIMARY KEY,
    extraction_id uuid NOT NULL UNIQUE,
    profile       text NOT NULL,
    layout        text NOT NULL,
    source        text NOT NULL,                 -- server and file, no credentials
    run_id        text,                          -- Dagster's, when there is one
    started_at    timestamptz NOT NULL,
    finished_at   timestamptz NOT NULL,
    found_count   bigint NOT NULL,               -- what FileMaker said
    row_count     bigint NOT NULL,               -- what we hold; equal, or the extraction was refused
    fed_fields    text[] NOT NULL,               -- canonical fields that the layout really has
    digest        text NOT NULL                  -- of ids and contents, independent of order
);

-- FileMaker's records as they came, by canonical field name. `json`, not `jsonb`: a NUL byte must survive.
CREATE TABLE fm_pipeline.source_records (
    entity        text   NOT NULL,
    record_id     bigint NOT NULL,               -- FileMaker's recordId
    mod_id        bigint NOT NULL,
    filemaker_key text,                          -- the id, trimmed and in lower case; null when empty
    patient_key   text,                          -- the same of the patient it belongs to
    fields        json   NOT NULL,
    PRIMARY KEY (entity, record_id)
);
CREATE INDEX source_records_key ON fm_pipeline.source_records (entity, filemaker_key);
CREATE INDEX source_records_patient ON fm_pipeline.source_records (entity, patient_key);

-- FileMaker id <-> Nexus id, for ever. What keeps the id of a patient over every reimport.
CREATE TABLE fm_pipeline.crosswalk (
    entity        text NOT NULL,
    filemaker_key text NOT NULL,
    nexus_id      uuid NOT NULL,
    origin        text NOT NULL,                 -- metadata | notes | column | content | new
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (entity, filemaker_key),
    UNIQUE (entity, nexus_id)
);

-- Ids that a patient had in Nexus before (an earlier reimport, or the loser of two rows for one FileMaker id).
CREATE TABLE fm_pipeline.retired_patient_ids (
    nexus_id      uuid PRIMARY KEY,
    filemaker_key text NOT NULL,
    origin        text NOT NULL                  -- duplicate | document | image
);

-- One row a staged entity: what it was built from, and how its source rows ended.
CREATE TABLE fm_pipeline.staged_builds (
    entity        text PRIMARY KEY,
    built_from    uuid[] NOT NULL,               -- extraction ids, sorted
    built_at      timestamptz NOT NULL,
    run_id        text,
    source_rows   bigint NOT NULL,
    ready         bigint NOT NULL,
    quarantined   bigint NOT NULL,
    skipped       bigint NOT NULL,
    fed_columns   text[] NOT NULL                -- columns of the Nexus table that this entity feeds
);

-- Every source row has an end: ready (loaded once the transaction commits), quarantined or skipped.
CREATE TABLE fm_pipeline.staged_outcomes (
    entity        text   NOT NULL,
    record_id     bigint NOT NULL,
    filemaker_id  text,
    outcome       text   NOT NULL CHECK (outcome IN ('ready', 'quarantined', 'skipped')),
    rule          text,                          -- why; null when ready
    PRIMARY KEY (entity, record_id),
    CHECK ((outcome = 'ready') = (rule IS NULL))
);

-- What a rule noticed. A row may have several findings; action is the rule's at that time.
CREATE TABLE fm_pipeline.staged_findings (
    entity        text   NOT NULL,
    record_id     bigint NOT NULL,
    filemaker_id  text,
    rule          text   NOT NULL,
    action        text   NOT NULL CHECK (action IN ('stop', 'quarantine', 'flag')),
    field         text   NOT NULL DEFAULT ''
);
CREATE INDEX staged_findings_rule ON fm_pipeline.staged_findings (entity, rule);

-- The rows as Nexus will have them. nexus_id comes from the crosswalk, or is made from the FileMaker id.
CREATE TABLE fm_pipeline.staged_patients (
    nexus_id uuid PRIMARY KEY, record_id bigint NOT NULL, filemaker_key text NOT NULL UNIQUE,
    first_name text NOT NULL, last_name text NOT NULL, middle_names text, dob date, sex text, title text,
    health_number text, funding_type_id uuid, clinic_id uuid, coordinator_name text, coordinator_date date,
    plan_start_date date, plan_end_date date, ndis_plan_start_date date, ndis_plan_end_date date,
    filemaker_metadata jsonb NOT NULL, contact_json jsonb NOT NULL, address_json jsonb,
    source_created_at timestamptz
);
CREATE TABLE fm_pipeline.staged_appointments (
    nexus_id uuid PRIMARY KEY, record_id bigint NOT NULL, filemaker_key text NOT NULL UNIQUE,
    filemaker_event_id uuid NOT NULL, patient_id uuid NOT NULL, clinic_id uuid, clinician_id uuid,
    appointment_type_id uuid, start_time timestamptz NOT NULL, end_time timestamptz, status text NOT NULL,
    reason text, notes text, source_created_at timestamptz
);
CREATE TABLE fm_pipeline.staged_notes (
    nexus_id uuid PRIMARY KEY, record_id bigint NOT NULL, filemaker_key text NOT NULL UNIQUE,
    patient_id uuid NOT NULL, note_type text NOT NULL, content text NOT NULL, created_by text,
    source_created_at timestamptz
);
CREATE TABLE fm_pipeline.staged_sms_messages (
    nexus_id uuid PRIMARY KEY, record_id bigint NOT NULL, filemaker_key text NOT NULL UNIQUE,
    patient_id uuid NOT NULL, phone_number text NOT NULL, message text NOT NULL, status text NOT NULL,
    sent_at timestamptz, source_created_at timestamptz
);
-- FileMaker's knowledge of which patient a document or an image belongs to.
CREATE TABLE fm_pipeline.staged_file_links (
    entity text NOT NULL CHECK (entity IN ('document', 'image')),
    filemaker_id uuid NOT NULL, record_id bigint NOT NULL, patient_key text NOT NULL,
    PRIMARY KEY (entity, filemaker_id)
);

-- One row an attempt that reached its transaction. Written inside that transaction: it is there if and only
-- if the transaction was committed, which is how a connection lost at COMMIT is decided.
CREATE TABLE fm_pipeline.reimports (
    id            uuid PRIMARY KEY,
    run_id        text,
    phases        text[] NOT NULL,
    started_at    timestamptz NOT NULL,
    report        jsonb NOT NULL                 -- counts, rule ids and Nexus ids; no patient data
);
