use std::fmt;
use std::num::{NonZeroU16, NonZeroU32};

use bytes::{BufMut, Bytes, BytesMut};

use super::auth::Authentication;
use super::will::Will;
use crate::error::{EncodeError, Fault};
use crate::properties::{Id, PropertyReader, PropertyWriter, Runs, UserProperties};
use crate::qos::QoS;
use crate::text::{ClientId, Text};
use crate::version::Version;
use crate::wire::{Reader, put_binary, put_prefixed, put_string};

/// CONNECT (MQTT 3.1). `Debug` shows no password.
#[derive(Clone, PartialEq, Eq)]
pub struct Connect {
    /// From Protocol Name and Protocol Version; all later packets of the connection follow it.
    pub version: Version,
    /// Clean Start; before version 5 Clean Session.
    pub clean_start: bool,
    /// Keep Alive in seconds; 0 is none.
    pub keepalive_s: u16,
    /// May be empty.
    pub client_id: ClientId,
    /// Will Message.
    pub will: Option<Will>,
    /// User Name.
    pub username: Option<Text>,
    /// Password, at most 65,535 bytes; before version 5 only with a user name.
    pub password: Option<Bytes>,
    /// Version 5 only.
    pub properties: ConnectProperties,
}

/// Properties of CONNECT (MQTT 3.1.2.11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectProperties {
    /// Session Expiry Interval in seconds; absent is 0, `u32::MAX` is never.
    pub session_expiry_s: Option<u32>,
    /// Receive Maximum; absent is 65,535.
    pub receive_max: Option<NonZeroU16>,
    /// Maximum Packet Size in bytes; absent is no limit.
    pub packet_size_max: Option<NonZeroU32>,
    /// Topic Alias Maximum; 0 is no alias.
    pub topic_alias_max: u16,
    /// Request Response Information.
    pub request_response_information: bool,
    /// Request Problem Information; absent is true.
    pub request_problem_information: bool,
    /// User Properties.
    pub user_properties: UserProperties,
    /// Enhanced authentication.
    pub authentication: Option<Authentication>,
}

impl Default for ConnectProperties {
    fn default() -> ConnectProperties {
        ConnectProperties {
            session_expiry_s: None,
            receive_max: None,
            packet_size_max: None,
            topic_alias_max: 0,
            request_response_information: false,
            request_problem_information: true,
            user_properties: UserProperties::default(),
            authentication: None,
        }
    }
}

impl Connect {
    /// A CONNECT with a clean start, without keepalive, will and credentials.
    pub fn new(version: Version, client_id: ClientId) -> Connect {
        Connect {
            version,
            clean_start: true,
            keepalive_s: 0,
            client_id,
            will: None,
            username: None,
            password: None,
            properties: ConnectProperties::default(),
        }
    }

    pub(crate) fn read(version: Version, reader: &mut Reader<'_>) -> Result<Connect, Fault> {
        let flags = Flags::read(reader.u8()?, version)?;
        let keepalive_s = reader.u16()?;
        let properties = match version {
            Version::V5 => ConnectProperties::read(reader)?,
            _ => ConnectProperties::default(),
        };
        let client_id = reader.string()?;
        let will = match flags.will {
            Some((qos, retain)) => Some(Will::read(qos, retain, reader, version)?),
            None => None,
        };
        // In 3.1 the remaining length outranks these two flags: the fields may be missing (3.1, section 3.1).
        let present =
            |flag: bool, reader: &Reader<'_>| flag && (version != Version::V31 || !reader.is_empty());
        let username = if present(flags.username, reader) { Some(reader.string()?) } else { None };
        let password = if present(flags.password, reader) { Some(reader.binary()?) } else { None };
        let clean_start = flags.clean_start;
        Ok(Connect { version, clean_start, keepalive_s, client_id, will, username, password, properties })
    }

    pub(crate) fn write(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        if self.version != Version::V5 && self.password.is_some() && self.username.is_none() {
            return Err(EncodeError::Contradiction("a password without a user name"));
        }
        put_binary(out, self.version.name().as_bytes())?;
        out.put_u8(self.version.level());
        out.put_u8(self.flags());
        out.put_u16(self.keepalive_s);
        if self.version.is_v5() {
            self.properties.write(out)?;
        }
        put_string(out, &self.client_id);
        if let Some(will) = &self.will {
            will.write(self.version, out)?;
        }
        if let Some(username) = &self.username {
            put_string(out, username);
        }
        self.password.as_ref().map_or(Ok(()), |password| put_binary(out, password))
    }

    fn flags(&self) -> u8 {
        let will =
            self.will.as_ref().map_or(0, |will| 0x04 | (will.qos as u8) << 3 | u8::from(will.retain) << 5);
        let credentials = u8::from(self.username.is_some()) << 7 | u8::from(self.password.is_some()) << 6;
        credentials | will | u8::from(self.clean_start) << 1
    }
}

/// Connect Flags (3.1.2.3).
struct Flags {
    username: bool,
    password: bool,
    will: Option<(QoS, bool)>,
    clean_start: bool,
}

impl Flags {
    fn read(bits: u8, version: Version) -> Result<Flags, Fault> {
        // 3.1 leaves the reserved bit and the will's bits without a will open.
        let strict = version != Version::V31;
        if strict && bits & 0x01 != 0 {
            return Err(Fault::ConnectFlags);
        }
        let will = if bits & 0x04 != 0 {
            let qos = QoS::try_from(bits >> 3 & 0x03).map_err(|_| Fault::WillFlags)?;
            Some((qos, bits & 0x20 != 0))
        } else if strict && bits & 0x38 != 0 {
            return Err(Fault::WillFlags);
        } else {
            None
        };
        let (username, password) = (bits & 0x80 != 0, bits & 0x40 != 0);
        if password && !username && version != Version::V5 {
            return Err(Fault::PasswordWithoutUserName);
        }
        Ok(Flags { username, password, will, clean_start: bits & 0x02 != 0 })
    }
}

impl ConnectProperties {
    fn read(reader: &mut Reader<'_>) -> Result<ConnectProperties, Fault> {
        let mut list = PropertyReader::new(reader)?;
        let mut users = Runs::new(list.frame());
        let mut properties = ConnectProperties::default();
        let (mut method, mut data) = (None, None);
        while let Some(id) = list.next()? {
            match id {
                Id::SessionExpiryInterval => properties.session_expiry_s = Some(list.u32()?),
                Id::ReceiveMaximum => properties.receive_max = Some(list.nonzero_u16()?),
                Id::MaximumPacketSize => properties.packet_size_max = Some(list.nonzero_u32()?),
                Id::TopicAliasMaximum => properties.topic_alias_max = list.u16()?,
                Id::RequestResponseInformation => properties.request_response_information = list.flag()?,
                Id::RequestProblemInformation => properties.request_problem_information = list.flag()?,
                Id::UserProperty => users.add(list.user_property()?),
                Id::AuthenticationMethod => method = Some(list.string()?),
                Id::AuthenticationData => data = Some(list.binary()?),
                _ => return Err(Fault::Property),
            }
        }
        properties.authentication = Authentication::join(method, data)?;
        properties.user_properties = UserProperties::from_runs(users);
        Ok(properties)
    }

    fn write(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        put_prefixed(out, |out| {
            let mut list = PropertyWriter::new(out);
            list.u32(Id::SessionExpiryInterval, self.session_expiry_s);
            list.u16(Id::ReceiveMaximum, self.receive_max.map(NonZeroU16::get));
            list.u32(Id::MaximumPacketSize, self.packet_size_max.map(NonZeroU32::get));
            list.u16(Id::TopicAliasMaximum, (self.topic_alias_max > 0).then_some(self.topic_alias_max));
            list.flag(Id::RequestResponseInformation, self.request_response_information, false);
            list.flag(Id::RequestProblemInformation, self.request_problem_information, true);
            Authentication::put(self.authentication.as_ref(), &mut list)?;
            self.user_properties.write(&mut list);
            Ok(())
        })
    }
}

/// Protocol Name and Protocol Version, the first fields of the variable header.
pub(crate) fn peek_version(reader: &mut Reader<'_>) -> Result<Version, Fault> {
    let name = reader.raw()?;
    let known = [Version::V31, Version::V311, Version::V5];
    if !known.iter().any(|version| version.name().as_bytes() == name) {
        return Err(Fault::ProtocolName);
    }
    let level = reader.u8()?;
    let mut versions = known.into_iter();
    let version = versions.find(|version| version.level() == level && version.name().as_bytes() == name);
    version.ok_or(Fault::ProtocolVersion { level })
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("version", &self.version)
            .field("clean_start", &self.clean_start)
            .field("keepalive_s", &self.keepalive_s)
            .field("client_id", &self.client_id)
            .field("will", &self.will)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "..."))
            .field("properties", &self.properties)
            .finish()
    }
}
