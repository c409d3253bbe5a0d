-- What the administrator sets while everything runs: watched path, intervals, FTP. One row, or none: then the settings
-- of the environment hold.
CREATE TABLE fm_pipeline.sync_configuration (
    id                    smallint PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    hospital_data_path    text,
    orthanc_storage_path  text,                  -- for people; Orthanc itself is asked over HTTP only
    monitoring_enabled    boolean NOT NULL,
    monitoring_interval   integer NOT NULL CHECK (monitoring_interval > 0),      -- seconds
    quiet_period          integer NOT NULL CHECK (quiet_period >= 0),            -- seconds without a change
    files_per_job         integer NOT NULL CHECK (files_per_job > 0),            -- of one batch of the sensor
    sync_enabled          boolean NOT NULL,
    sync_interval         integer NOT NULL CHECK (sync_interval > 0),            -- seconds
    last_sync_at          timestamptz,
    ftp_enabled           boolean NOT NULL,
    ftp_host              text,
    ftp_port              integer NOT NULL CHECK (ftp_port BETWEEN 1 AND 65535),
    ftp_username          text,
    -- The password itself is the setting FTP_PASSWORD: this table is in every dump of the database, and whoever may
    -- read the pipeline's tables may read it.
    ftp_password_set      boolean NOT NULL,
    ftp_path              text NOT NULL,
    ftp_passive           boolean NOT NULL,
    ftp_security          text NOT NULL CHECK (ftp_security IN ('tls', 'tls_unverified', 'none')),
    ftp_folder            text NOT NULL,         -- in hospital_data_path
    updated_at            timestamptz NOT NULL,
    updated_by            text NOT NULL
);

-- What was pulled from an FTP server, so that a second pull fetches nothing, and a cut one goes on.
CREATE TABLE fm_pipeline.ftp_files (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    server        text NOT NULL,                 -- user@host:port
    remote_path   bytea NOT NULL,                -- as on the wire: a name need not be UTF-8
    size_bytes    bigint NOT NULL,
    modified_at   timestamptz,                   -- by the server's clock; null where it does not say
    state         text NOT NULL CHECK (state IN ('pulling', 'pulled')),
    started_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    pulled_at     timestamptz,
    UNIQUE (server, remote_path)
);
