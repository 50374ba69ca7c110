//! The streams of one connection.

/// Data streams of one connection at a time; the driver may allow fewer.
pub const DATA_STREAMS_MAX: usize = 32;

/// Names a stream of a connection. Every transport has the control stream; only QUIC, in its multi-stream form, has others:
/// data streams. Numbers are not used again as long as a session lives, so that what belongs to a stream that is closed
/// never belongs to a later one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub(crate) u32);

impl StreamId {
    /// The stream on which CONNECT came.
    pub const CONTROL: StreamId = StreamId(0);
}
