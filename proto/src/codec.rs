//! The gRPC codec of all services: protobuf, in buffers that begin small.
//!
//! Each stream has a buffer for each direction for as long as it is open, and a broker's watch is open always: on a
//! replica it is their beginning that counts, a thousand times. A message that is larger makes its buffer grow.
use std::marker::PhantomData;

use prost::Message;
use tonic::codec::BufferSettings;
use tonic_prost::{ProstDecoder, ProstEncoder};

/// Bytes of a buffer at first. The smallest size that `bytes` allocates anew when one is used up; most messages of a
/// watch have less.
const BUFFER: usize = 1_024;
/// Messages that are ready together leave together up to about so many bytes: tonic's own default.
const TOGETHER: usize = 32 * 1_024;

/// A [`tonic::codec::Codec`] for messages of type `T` out and `U` in, both protobuf.
#[derive(Debug)]
pub struct Codec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Codec<T, U> {
        Codec(PhantomData)
    }
}

impl<T, U> tonic::codec::Codec for Codec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> ProstEncoder<T> {
        ProstEncoder::new(BufferSettings::new(BUFFER, TOGETHER))
    }

    fn decoder(&mut self) -> ProstDecoder<U> {
        ProstDecoder::new(BufferSettings::new(BUFFER, TOGETHER))
    }
}
