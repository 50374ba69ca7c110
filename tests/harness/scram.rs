//! SCRAM-SHA-256 (RFC 5802, RFC 7677) as a device speaks it within MQTT's AUTH, and what an administrator makes of a
//! password: both written apart from the programs that are tested.

use std::num::NonZeroU32;

use anyhow::{Context, Result, bail, ensure};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use aws_lc_rs::pbkdf2::{PBKDF2_HMAC_SHA256, derive};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use revoq_mqtt::{Auth, Authentication, ConnAck, Connect, Packet, ReasonCode};
use revoq_proto::v1;

use crate::access::{Access, TENANT};
use crate::raw::Raw;

/// The Authentication Method.
pub const METHOD: &str = "SCRAM-SHA-256";
const ITERATIONS: u32 = 4_096;

/// Gives a username of the tenant `default` a password, by a verifier that is made here; the revision.
pub async fn set_password(access: &Access, username: &str, device: &str, password: &str) -> Result<u64> {
    let salt: [u8; 16] = rand::random();
    let salted = salted(password, &salt, ITERATIONS)?;
    let verifier = v1::Verifier {
        salt: salt.to_vec().into(),
        iterations: ITERATIONS,
        stored_key: digest(&SHA256, &hmac(&salted, b"Client Key")).as_ref().to_vec().into(),
        server_key: hmac(&salted, b"Server Key").into(),
    };
    let request = v1::SetPasswordRequest {
        tenant: TENANT.into(),
        username: username.into(),
        device: device.into(),
        verifier: Some(verifier),
        client_id: String::new(),
    };
    let mut client = v1::passwords_client::PasswordsClient::new(access.channel(0)?);
    Ok(client.set(request).await?.into_inner().revision)
}

/// One exchange of a device.
#[derive(Clone, Debug)]
pub struct Scram {
    password: String,
    bare: String,
}

/// A challenge, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The client's part and the server's.
    pub nonce: String,
    /// By which the password is hashed.
    pub salt: Vec<u8>,
    /// How often.
    pub iterations: u32,
}

impl Challenge {
    /// From the server's first message.
    pub fn parse(message: &[u8]) -> Result<Challenge> {
        let mut parts = std::str::from_utf8(message)?.splitn(3, ',');
        let mut part = |name: &str| parts.next().and_then(|part| part.strip_prefix(name)).context("a part");
        Ok(Challenge {
            nonce: part("r=")?.to_owned(),
            salt: STANDARD.decode(part("s=")?)?,
            iterations: part("i=")?.parse()?,
        })
    }
}

impl Scram {
    /// With a nonce of its own.
    pub fn new(username: &str, password: &str) -> Scram {
        let nonce = STANDARD.encode(rand::random::<[u8; 18]>());
        let username = username.replace('=', "=3D").replace(',', "=2C");
        Scram { password: password.to_owned(), bare: format!("n={username},r={nonce}") }
    }

    /// The first message.
    pub fn first(&self) -> Bytes {
        format!("n,,{}", self.bare).into()
    }

    /// The last message, and the signature that the server must answer with.
    pub fn last(&self, message: &[u8]) -> Result<(Bytes, Bytes)> {
        let challenge = Challenge::parse(message)?;
        let own = self.bare.split_once(",r=").context("the nonce")?.1;
        ensure!(challenge.nonce.len() > own.len() && challenge.nonce.starts_with(own), "{challenge:?}");
        let salted = salted(&self.password, &challenge.salt, challenge.iterations)?;
        let client_key = hmac(&salted, b"Client Key");
        let unproven = format!("c=biws,r={}", challenge.nonce);
        let signed = format!("{},{},{unproven}", self.bare, std::str::from_utf8(message)?);
        let mask = hmac(digest(&SHA256, &client_key).as_ref(), signed.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect();
        let signature = hmac(&hmac(&salted, b"Server Key"), signed.as_bytes());
        let last = format!("{unproven},p={}", STANDARD.encode(proof));
        Ok((last.into(), format!("v={}", STANDARD.encode(signature)).into()))
    }
}

fn salted(password: &str, salt: &[u8], iterations: u32) -> Result<Vec<u8>> {
    let mut salted = vec![0; 32];
    let rounds = NonZeroU32::new(iterations).context("no iterations")?;
    derive(PBKDF2_HMAC_SHA256, rounds, salt, password.as_bytes(), &mut salted);
    Ok(salted)
}

fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    sign(&Key::new(HMAC_SHA256, key), message).as_ref().to_vec()
}

/// An AUTH packet.
pub fn auth(reason: ReasonCode, method: &str, data: impl Into<Option<Bytes>>) -> Packet {
    let authentication = Authentication { method: method.parse().expect("text"), data: data.into() };
    Packet::Auth(Auth { reason, authentication: Some(authentication), properties: Default::default() })
}

/// CONNECT with the first message.
pub fn connect(mut connect: Connect, scram: &Scram) -> Packet {
    let authentication = Authentication { method: METHOD.parse().expect("text"), data: Some(scram.first()) };
    connect.properties.authentication = Some(authentication);
    Packet::Connect(Box::new(connect))
}

/// The next packet is AUTH with this code and this method; its data.
pub async fn expect_auth(raw: &mut Raw, reason: ReasonCode) -> Result<Bytes> {
    match raw.packet().await? {
        Packet::Auth(Auth { reason: told, authentication: Some(of), properties })
            if told == reason && of.method.as_str() == METHOD && properties == Default::default() =>
        {
            Ok(of.data.unwrap_or_default())
        }
        other => Err(raw.failed(&format!("AUTH {:#04x} was expected, not {other:?}", reason.code()))),
    }
}

/// Goes through the exchange of CONNECT; the CONNACK, whatever it says. With success it has the server's signature.
pub async fn log_in(raw: &mut Raw, packet: Connect, scram: &Scram) -> Result<ConnAck> {
    raw.send_packet(&connect(packet, scram)).await?;
    let challenge = expect_auth(raw, ReasonCode::ContinueAuthentication).await?;
    let (last, signature) = scram.last(&challenge)?;
    raw.send_packet(&auth(ReasonCode::ContinueAuthentication, METHOD, last)).await?;
    let Packet::ConnAck(ack) = raw.packet().await? else { bail!(raw.failed("CONNACK was expected")) };
    let expected = Authentication { method: METHOD.parse()?, data: Some(signature) };
    if !ack.reason.is_error() && ack.properties.authentication.as_ref() != Some(&expected) {
        bail!(raw.failed("the server does not prove that it knows the password"));
    }
    Ok(ack)
}

/// Authenticates again; it succeeds.
pub async fn log_in_again(raw: &mut Raw, scram: &Scram) -> Result<()> {
    raw.send_packet(&auth(ReasonCode::ReAuthenticate, METHOD, scram.first())).await?;
    let challenge = expect_auth(raw, ReasonCode::ContinueAuthentication).await?;
    let (last, signature) = scram.last(&challenge)?;
    raw.send_packet(&auth(ReasonCode::ContinueAuthentication, METHOD, last)).await?;
    let told = expect_auth(raw, ReasonCode::Success).await?;
    ensure!(told == signature, raw.failed("the server does not prove that it knows the password"));
    Ok(())
}
