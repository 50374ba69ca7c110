//! The codec from outside: bytes in, packets or faults out, and back.

mod bytes;
mod connect;
mod encoded;
mod generate;
mod packets;
mod robust;
mod round_trip;
mod strictness;
mod topics;
