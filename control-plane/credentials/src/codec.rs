//! Encoding shared by rows, commands and events: CBOR with numbered fields, so that fields can be added.

use minicbor::decode::Error;
use minicbor::{Decode, Encode};

use crate::store::ReadError;

/// Encodes what cannot fail to encode: the writer is a `Vec`.
pub(crate) fn encode<T: Encode<()>>(value: &T) -> Vec<u8> {
    minicbor::to_vec(value).expect("writing to memory does not fail")
}

/// Decodes the whole of `bytes`; what follows the value is an error.
pub(crate) fn decode<'b, T: Decode<'b, ()>>(bytes: &'b [u8]) -> Result<T, Error> {
    let mut decoder = minicbor::Decoder::new(bytes);
    let value = decoder.decode()?;
    match bytes.len() - decoder.position() {
        0 => Ok(value),
        rest => Err(Error::message(format!("{rest} bytes follow the value"))),
    }
}

/// Decodes a row, naming its key where that fails.
pub(crate) fn decode_row<'b, T: Decode<'b, ()>>(key: &[u8], bytes: &'b [u8]) -> Result<T, ReadError> {
    decode(bytes).map_err(|error| ReadError(format!("row {} cannot be decoded: {error}", key.escape_ascii())))
}

/// A field-less enum as its number. Numbers that this build does not know are errors, also inside an `Option`,
/// where the derived code would read them as absent.
macro_rules! numbered {
    ($Type:ident, $what:literal) => {
        impl<C> minicbor::Encode<C> for $Type {
            fn encode<W: minicbor::encode::Write>(
                &self,
                encoder: &mut minicbor::Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                encoder.u8(self.code())?.ok()
            }
        }

        impl<'b, C> minicbor::Decode<'b, C> for $Type {
            fn decode(
                decoder: &mut minicbor::Decoder<'b>,
                _: &mut C,
            ) -> Result<Self, minicbor::decode::Error> {
                let code = decoder.u8()?;
                Self::from_code(code).ok_or_else(|| {
                    minicbor::decode::Error::message(format!(concat!($what, " {} is not known"), code))
                })
            }
        }
    };
}
pub(crate) use numbered;

/// `Option<Vec<u8>>` as a byte string or null.
pub(crate) mod optional_bytes {
    use minicbor::encode::{Error, Write};
    use minicbor::{Decoder, Encoder, data::Type};

    pub(crate) fn encode<C, W: Write>(
        value: &Option<Vec<u8>>,
        encoder: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), Error<W::Error>> {
        match value {
            Some(bytes) => encoder.bytes(bytes)?.ok(),
            None => encoder.null()?.ok(),
        }
    }

    pub(crate) fn decode<C>(
        decoder: &mut Decoder<'_>,
        _: &mut C,
    ) -> Result<Option<Vec<u8>>, minicbor::decode::Error> {
        if decoder.datatype()? == Type::Null {
            decoder.null()?;
            return Ok(None);
        }
        Ok(Some(decoder.bytes()?.to_vec()))
    }

    #[expect(clippy::unnecessary_wraps, reason = "the signature that the derive asks for")]
    pub(crate) fn nil() -> Option<Option<Vec<u8>>> {
        Some(None)
    }

    pub(crate) fn is_nil(value: &Option<Vec<u8>>) -> bool {
        value.is_none()
    }
}
