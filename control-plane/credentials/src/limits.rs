//! The named limits of names, sizes and counts. A refusal names the limit by its constant in lower case.

/// Tenants that are not deleted.
pub const TENANTS_MAX: u64 = 10_000;
/// Authorities of one tenant that are not deleted.
pub const AUTHORITIES_PER_TENANT_MAX: u64 = 100;
/// Certificates of one device that are not deleted. Devices of a tenant are without limit.
pub const CERTIFICATES_PER_DEVICE_MAX: u32 = 1_000;
/// Passwords of one device that are not deleted.
pub const PASSWORDS_PER_DEVICE_MAX: usize = 100;
/// Bytes of a password's salt, at least.
pub const SALT_BYTES_MIN: usize = 8;
/// Bytes of a password's salt, where nobody says otherwise.
pub const SALT_BYTES_DEFAULT: usize = 16;
/// Bytes of a password's salt, at most.
pub const SALT_BYTES_MAX: usize = 64;
/// Iterations of a password's hash, at least (RFC 7677 section 4).
pub const ITERATIONS_MIN: u32 = 4_096;
/// Iterations of a password's hash, where nobody says otherwise.
pub const ITERATIONS_DEFAULT: u32 = 10_000;
/// Iterations of a password's hash, at most: it is the device that works them off, at each connect.
pub const ITERATIONS_MAX: u32 = 1_000_000;
/// Bytes of the client identifier that a password is bound to.
pub const CLIENT_ID_BYTES_MAX: usize = 1_024;
/// Labels of one device.
pub const LABELS_PER_DEVICE_MAX: usize = 64;
/// Broker nodes and replicas.
pub const NODES_MAX: u64 = 10_000;
/// Join tokens that have not expired.
pub const JOIN_TOKENS_MAX: u64 = 1_000;
/// Administrators.
pub const ADMINISTRATORS_MAX: u64 = 1_000;
/// Bytes of an actor's name.
pub const ACTOR_BYTES_MAX: usize = 256;
/// Bytes of a comment.
pub const COMMENT_BYTES_MAX: usize = 256;
/// Bytes of any other text in an audit entry; longer ones are cut.
pub const AUDIT_TEXT_BYTES_MAX: usize = 1_024;
/// Bytes of a node's address.
pub const ADDRESS_BYTES_MAX: usize = 256;
/// Bytes of a certificate's DER.
pub const CERTIFICATE_BYTES_MAX: usize = 16_384;
/// Bytes of an issuer or subject.
pub const DISTINGUISHED_NAME_BYTES_MAX: usize = 4_096;
/// Bytes of sealed keys.
pub const SEALED_BYTES_MAX: usize = 65_536;
/// Fingerprints in one report of use.
pub const USAGE_REPORT_MAX: usize = 1_000;
/// Bytes of a setting's value.
pub const SETTING_BYTES_MAX: usize = 256;
/// Rows in a page of a list.
pub const PAGE_SIZE_MAX: usize = 1_000;

/// `last_used` is not written again within this time.
pub const LAST_USED_RESOLUTION_MS: u64 = 60_000;
/// How long after its notAfter a certificate stays in the denied set: longer than the clocks of broker nodes
/// can plausibly be wrong, because one that is late would let it in again.
pub const DENIED_AFTER_EXPIRY_MS: u64 = 30 * 24 * 3_600_000;
/// Rows of the denied set that one command prunes at most.
pub const PRUNE_MAX: usize = 100;
