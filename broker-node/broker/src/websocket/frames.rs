//! Frames, RFC 6455 section 5: bytes in, payload and control frames out.

use std::io::Cursor;

use bytes::Bytes;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

/// RFC 6455 section 5.2: the longest header, of a client's frame.
const HEADER_MAX: usize = 14;
/// RFC 6455 section 5.5.
const CONTROL_PAYLOAD_MAX: u64 = 125;

/// How a client breaks the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("a WebSocket frame against RFC 6455")]
    Protocol,
    /// MQTT-6.0.0-1.
    #[error("a WebSocket text frame: MQTT is carried in binary frames only")]
    Text,
    #[error("a WebSocket close frame whose reason is not UTF-8")]
    NotUtf8,
    #[error("a WebSocket message above the limit")]
    TooLarge,
}

impl Fault {
    /// For the close frame, RFC 6455 section 7.4.1.
    pub(super) fn code(self) -> CloseCode {
        match self {
            Fault::Protocol => CloseCode::Protocol,
            Fault::Text => CloseCode::Unsupported,
            Fault::NotUtf8 => CloseCode::Invalid,
            Fault::TooLarge => CloseCode::Size,
        }
    }
}

/// The frame whose payload is being read.
struct Frame {
    opcode: OpCode,
    mask: [u8; 4],
    /// Payload that is still to come, bytes.
    left: u64,
}

/// Reads a client's frames.
pub(super) struct Reader {
    /// A header that is not whole yet.
    head: [u8; HEADER_MAX],
    head_len: usize,
    frame: Option<Frame>,
    /// Of the message that is not whole yet, the bytes in the frames so far.
    message: Option<u64>,
    message_max: u64,
    /// The payload of a control frame, at most 125 bytes; no memory while there is none.
    control: Vec<u8>,
    ping: Option<Bytes>,
    /// What our close frame answers to the client's.
    close: Option<CloseCode>,
}

impl Reader {
    pub(super) fn new(message_max: u64) -> Reader {
        Reader {
            head: [0; HEADER_MAX],
            head_len: 0,
            frame: None,
            message: None,
            message_max,
            control: Vec::new(),
            ping: None,
            close: None,
        }
    }

    /// The client sent a close frame: nothing comes after it.
    pub(super) fn is_closed(&self) -> bool {
        self.close.is_some()
    }

    pub(super) fn close_code(&self) -> Option<CloseCode> {
        self.close
    }

    /// The payload of the latest ping that was not answered.
    pub(super) fn take_ping(&mut self) -> Option<Bytes> {
        self.ping.take()
    }

    /// Moves the payload of binary frames, unmasked, to the front of `bytes`: its length.
    pub(super) fn take(&mut self, bytes: &mut [u8]) -> Result<usize, Fault> {
        let (mut from, mut to) = (0, 0);
        while from < bytes.len() && !self.is_closed() {
            let Some(frame) = &mut self.frame else {
                from += self.take_header(&bytes[from..])?;
                continue;
            };
            let left = usize::try_from(frame.left).unwrap_or(usize::MAX);
            let count = left.min(bytes.len() - from);
            let payload = &mut bytes[from..from + count];
            unmask(payload, &mut frame.mask);
            frame.left -= count as u64;
            if matches!(frame.opcode, OpCode::Control(_)) {
                self.control.extend_from_slice(payload);
            } else {
                bytes.copy_within(from..from + count, to);
                to += count;
            }
            from += count;
            self.end_frame()?;
        }
        Ok(to)
    }

    /// How many bytes of it belong to the header.
    fn take_header(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        let known = self.head_len;
        let count = bytes.len().min(HEADER_MAX - known);
        self.head[known..known + count].copy_from_slice(&bytes[..count]);
        let mut cursor = Cursor::new(&self.head[..known + count]);
        let parsed = FrameHeader::parse(&mut cursor).map_err(|_| Fault::Protocol)?;
        let Some((header, length)) = parsed else {
            self.head_len = known + count;
            return Ok(count);
        };
        let whole = usize::try_from(cursor.position()).map_err(|_| Fault::Protocol)?;
        self.head_len = 0;
        // The length has one form only, the shortest.
        if header.len(length) != whole {
            return Err(Fault::Protocol);
        }
        self.begin_frame(&header, length)?;
        self.end_frame()?;
        Ok(whole - known)
    }

    fn begin_frame(&mut self, header: &FrameHeader, length: u64) -> Result<(), Fault> {
        let FrameHeader { is_final, rsv1, rsv2, rsv3, opcode, mask } = *header;
        let mask = mask.ok_or(Fault::Protocol)?;
        if rsv1 || rsv2 || rsv3 {
            return Err(Fault::Protocol);
        }
        match opcode {
            OpCode::Control(_) if !is_final || length > CONTROL_PAYLOAD_MAX => return Err(Fault::Protocol),
            OpCode::Control(_) => {}
            OpCode::Data(Data::Text) => return Err(Fault::Text),
            OpCode::Data(data) => {
                // A message ends before the next one begins, and only what has begun is continued.
                if self.message.is_some() != (data == Data::Continue) {
                    return Err(Fault::Protocol);
                }
                let message = self.message.unwrap_or(0).saturating_add(length);
                if message > self.message_max {
                    return Err(Fault::TooLarge);
                }
                self.message = (!is_final).then_some(message);
            }
        }
        self.frame = Some(Frame { opcode, mask, left: length });
        Ok(())
    }

    /// If it is over.
    fn end_frame(&mut self) -> Result<(), Fault> {
        let Some(Frame { opcode, left: 0, .. }) = self.frame else { return Ok(()) };
        self.frame = None;
        let OpCode::Control(control) = opcode else { return Ok(()) };
        let payload = std::mem::take(&mut self.control);
        match control {
            Control::Ping => self.ping = Some(payload.into()),
            Control::Close => self.close = Some(close_code(&payload)?),
            // An answer to no ping of ours, which is permitted.
            Control::Pong | Control::Reserved(_) => {}
        }
        Ok(())
    }
}

/// What answers a close frame with this payload: its own code, RFC 6455 section 5.5.1.
fn close_code(payload: &[u8]) -> Result<CloseCode, Fault> {
    match payload {
        [] => Ok(CloseCode::Normal),
        [high, low, reason @ ..] => {
            let code = CloseCode::from(u16::from_be_bytes([*high, *low]));
            if !code.is_allowed() {
                return Err(Fault::Protocol);
            }
            std::str::from_utf8(reason).map(|_| code).map_err(|_| Fault::NotUtf8)
        }
        [_] => Err(Fault::Protocol),
    }
}

/// Unmasks, and turns the mask so that it fits what follows.
fn unmask(bytes: &mut [u8], mask: &mut [u8; 4]) {
    let word = u32::from_ne_bytes(*mask);
    let (words, rest) = bytes.as_chunks_mut::<4>();
    for chunk in words {
        *chunk = (u32::from_ne_bytes(*chunk) ^ word).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(*mask) {
        *byte ^= mask;
    }
    mask.rotate_left(rest.len());
}

/// A binary frame of ours, as far as it has not left.
#[derive(Clone, Copy, Default)]
pub(super) struct DataFrame {
    head: [u8; 10],
    from: u8,
    to: u8,
    /// Payload, bytes.
    pub(super) left: usize,
}

impl DataFrame {
    pub(super) fn new(payload: usize) -> DataFrame {
        let header = FrameHeader { opcode: OpCode::Data(Data::Binary), ..FrameHeader::default() };
        let mut frame = DataFrame { left: payload, ..DataFrame::default() };
        let mut cursor = Cursor::new(&mut frame.head[..]);
        header.format(payload as u64, &mut cursor).expect("a header without a mask has at most 10 bytes");
        frame.to = u8::try_from(cursor.position()).expect("at most 10");
        frame
    }

    /// Has a part of it left, and not all?
    pub(super) fn is_midway(&self) -> bool {
        self.from > 0 && self.left > 0
    }

    /// The header.
    pub(super) fn head(&self) -> &[u8] {
        &self.head[usize::from(self.from)..usize::from(self.to)]
    }

    /// At most that many bytes have left: how many of them were the header's, and how many payload.
    pub(super) fn advance(&mut self, count: usize) -> (usize, usize) {
        let of_head = self.head().len().min(count);
        let of_payload = self.left.min(count - of_head);
        self.from += u8::try_from(of_head).expect("at most 10");
        self.left -= of_payload;
        (of_head, of_payload)
    }
}

/// Control frames of ours, whole.
pub(super) mod control {
    use bytes::Bytes;
    use tungstenite::protocol::frame::coding::{CloseCode, Control, OpCode};

    use super::FrameHeader;

    pub(in super::super) fn pong(ping: &[u8]) -> Bytes {
        frame(Control::Pong, ping)
    }

    pub(in super::super) fn close(code: CloseCode) -> Bytes {
        frame(Control::Close, &u16::from(code).to_be_bytes())
    }

    fn frame(control: Control, payload: &[u8]) -> Bytes {
        let header = FrameHeader { opcode: OpCode::Control(control), ..FrameHeader::default() };
        let mut frame = Vec::with_capacity(2 + payload.len());
        header.format(payload.len() as u64, &mut frame).expect("memory takes it");
        frame.extend_from_slice(payload);
        frame.into()
    }
}
