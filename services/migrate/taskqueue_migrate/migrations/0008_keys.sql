-- Keys of the API. What signs the sessions of pages is in `meta`, as `session_secret`, from the first start on.

CREATE TABLE api_keys (
    seq          INTEGER PRIMARY KEY,
    id           TEXT    NOT NULL UNIQUE,
    label        TEXT    NOT NULL,
    role         TEXT    NOT NULL CHECK (role IN ('read', 'submit', 'operate', 'admin')),
    -- SHA-256 of the secret in its text, which nobody has but its holder.
    hash         BLOB    NOT NULL CHECK (length(hash) = 32),
    -- JSON text: what the key is bound to; {} for all.
    scope        TEXT    NOT NULL DEFAULT '{}',
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    revoked_at   INTEGER,
    -- To within ten minutes.
    last_used_at INTEGER
) STRICT;
