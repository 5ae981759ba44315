//! Every limit of the vault, unit last, source beside.

/// Longest name of a secret or key ("Vault-name and Object-name", Key Vault's documentation).
pub const NAME_CHARACTERS_MAX: usize = 127;

/// Longest value of a secret: 25 kB, as documented under "About Azure Key Vault secrets".
pub const SECRET_BYTES_MAX: usize = 25 * 1024;

/// Longest content type of a secret (the same document).
pub const CONTENT_TYPE_CHARACTERS_MAX: usize = 255;

/// Most tags of a version (the same document).
pub const TAGS_MAX: usize = 15;

/// Longest name and longest value of a tag (the same document).
pub const TAG_CHARACTERS_MAX: usize = 256;

/// Rows of a page, unless `maxresults` asks for fewer; it may ask for no more.
pub const PAGE_ROWS_MAX: usize = 25;

/// Most versions that a backup takes in (Key Vault's documentation of backups).
pub const BACKUP_VERSIONS_MAX: usize = 500;

/// Largest body: a secret's value, in which each byte may be escaped as six, with room for the rest.
pub const BODY_BYTES_MAX: usize = 256 * 1024;

/// Largest body of a restore: a backup of the most versions with the longest values stays under what one
/// commit of the ledger takes.
pub const RESTORE_BYTES_MAX: usize = 24 * 1024 * 1024;

/// Largest sum of sealed versions that a backup holds: base64 in a body below [`RESTORE_BYTES_MAX`].
pub const BACKUP_BYTES_MAX: usize = 9 * 1024 * 1024;

/// Days that what was deleted can be recovered: at least.
pub const RECOVERABLE_DAYS_MIN: u32 = 7;

/// Days that what was deleted can be recovered: at most, and unless a vault says otherwise.
pub const RECOVERABLE_DAYS_MAX: u32 = 90;

/// How often an operation is decided anew when others change the same object.
pub const ATTEMPTS_MAX: usize = 20;

/// Versions that one commit of a purge removes; the rest is removed by the background work.
pub const PURGE_VERSIONS_MAX: usize = 1_000;

/// Objects that one round of the background work purges or rotates.
pub const ROUND_OBJECTS_MAX: usize = 200;

/// Audit rows that one seal of the chain takes in.
pub const AUDIT_SEAL_ROWS_MAX: usize = 20_000;

/// How much of a path, a client's name or a client's own request id the audit keeps.
pub const AUDIT_TEXT_BYTES_MAX: usize = 512;

/// Seconds in which refusals have few rows of their own: what nobody answers for must not fill the disk. Those
/// beyond are counted, and one row tells how many, and of the last one from where.
pub const AUDIT_REFUSALS_SECONDS: u64 = 10;

/// Rows of refused strangers of a vault in that time.
pub const AUDIT_STRANGERS_MAX: u32 = 1;

/// Rows of refusals of one principal in that time.
pub const AUDIT_REFUSALS_MAX: u32 = 20;

/// Principals whose refusals are counted apart; those beyond are counted as strangers are.
pub const AUDIT_REFUSED_PRINCIPALS_MAX: usize = 4_096;

/// Fewest days that a vault may be told to keep its audit.
pub const AUDIT_DAYS_MIN: u32 = 30;

/// Stretches of the audit that one round of the background work drops, a vault.
pub const AUDIT_DROPS_MAX: usize = 10;

/// Operations with private keys and makings of keys that are under way at once; others wait.
pub const CRYPTO_CONCURRENT_MAX: usize = 8;

/// Earliest expiry that a rotation policy may set (Key Vault's documentation of rotation).
pub const ROTATION_EXPIRY_DAYS_MIN: i64 = 28;

/// Earliest rotation after creation, and latest before expiry (the same document).
pub const ROTATION_DAYS_MIN: i64 = 7;

/// Longest passphrase that is read.
pub const PASSPHRASE_BYTES_MAX: u64 = 1_024;

/// Shortest passphrase that is taken: fewer characters are guessed, Argon2id or not.
pub const PASSPHRASE_BYTES_MIN: usize = 16;

/// Memory that Argon2id fills for a passphrase, in KiB: 64 MiB (RFC 9106, section 4, second choice).
pub const ARGON2_MEMORY_KIB: u32 = 64 * 1024;

/// Passes of Argon2id (RFC 9106, section 4, second choice).
pub const ARGON2_PASSES: u32 = 3;

/// Lanes of Argon2id (RFC 9106, section 4, second choice).
pub const ARGON2_LANES: u32 = 4;
