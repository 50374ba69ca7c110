//! How RocksDB is set up.
use super::database::count;
use rocksdb::{BlockBasedOptions, DBCompressionType, DBRecoveryMode, Options, WriteOptions};

const MIB: usize = 1024 * 1024;
const LOG_BUFFER_BYTES: usize = 32 * MIB;
const META_BUFFER_BYTES: usize = MIB;
const STATE_BUFFER_BYTES: usize = 32 * MIB;
/// Beyond this the oldest write buffers are flushed so that their logs can go.
const WAL_BYTES_MAX: u64 = 256 * MIB as u64;

pub(super) fn database_options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    // A torn tail is what a crash leaves; a fault before it means that acknowledged entries are gone, and then the
    // replica must not start as if nothing were missing. A log that was cut short looks the same: see `recovery`.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    // As do closed logs of which one is missing or short.
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_max_total_wal_size(WAL_BYTES_MAX);
    // Written by the flusher thread together with the fdatasync, not by every append.
    options.set_manual_wal_flush(true);
    options.set_bytes_per_sync(MIB as u64);
    options.set_max_background_jobs(2);
    options.set_keep_log_file_num(4);
    options.set_max_log_file_size(4 * MIB);
    options
}

/// The options of a column family, by the kind that its name begins with.
pub(super) fn family_options(name: &str) -> Options {
    match name.split('.').next() {
        Some("log") => log_options(),
        Some("state") => state_options(),
        Some("default") => count_options(),
        _ => meta_options(),
    }
}

fn count_options() -> Options {
    let mut options = meta_options();
    count(&mut options);
    options
}

fn log_options() -> Options {
    let mut options = Options::default();
    options.set_write_buffer_size(LOG_BUFFER_BYTES);
    options.set_compression_type(DBCompressionType::None);
    options
}

fn meta_options() -> Options {
    let mut options = Options::default();
    options.set_write_buffer_size(META_BUFFER_BYTES);
    options
}

pub(crate) fn state_options() -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_bloom_filter(10.0, false);
    blocks.set_format_version(5);
    let mut options = Options::default();
    options.set_write_buffer_size(STATE_BUFFER_BYTES);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_block_based_table_factory(&blocks);
    options
}

/// For the state: the log is its write-ahead log.
pub(crate) fn without_wal() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.disable_wal(true);
    options
}
