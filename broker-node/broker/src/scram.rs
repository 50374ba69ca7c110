//! SCRAM-SHA-256, the server's side (RFC 5802, RFC 7677), without channel binding: messages in, messages out.
//!
//! ```text
//!   client                                   server
//!     n,,n=pump,r=abc                ──▶       ClientFirst::parse
//!     r=abcXYZ,s=…,i=10000           ◀──       Exchange::challenge
//!     c=biws,r=abcXYZ,p=…            ──▶       Exchange::verify
//!     v=…                            ◀──
//! ```
//!
//! The server neither sees the password nor anything that it could log in with elsewhere.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

/// The name among SASL mechanisms, and thus the Authentication Method.
pub(crate) const METHOD: &str = "SCRAM-SHA-256";
/// Bytes of a message of a client: more than the longest username and nonce need.
const MESSAGE_BYTES_MAX: usize = 2_048;
/// Bytes of a client's nonce.
const NONCE_BYTES_MAX: usize = 256;
const KEY_BYTES: usize = 32;

/// The client's first message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ClientFirst<'a> {
    /// `n,,` or the like, which its last message repeats.
    gs2_header: &'a str,
    /// What follows.
    bare: &'a str,
    pub(crate) username: String,
    nonce: &'a str,
}

impl<'a> ClientFirst<'a> {
    /// `None`: it is malformed, or asks for channel binding, for somebody else's rights, or for an extension that this
    /// server does not know.
    pub(crate) fn parse(message: &'a [u8]) -> Option<ClientFirst<'a>> {
        let message = text(message)?;
        let (flag, rest) = message.split_once(',')?;
        let (authorization, bare) = rest.split_once(',')?;
        if flag != "n" && flag != "y" {
            return None;
        }
        let mut attributes = bare.split(',');
        // A mandatory extension, `m=`, would come before the name.
        let username = saslname(attributes.next()?.strip_prefix("n=")?)?;
        let nonce = attributes.next()?.strip_prefix("r=")?;
        let its_own = match authorization {
            "" => true,
            other => saslname(other.strip_prefix("a=")?)? == username,
        };
        let sound =
            (1..=NONCE_BYTES_MAX).contains(&nonce.len()) && nonce.bytes().all(|b| b.is_ascii_graphic());
        let gs2_header = &message[..message.len() - bare.len()];
        (its_own && sound && attributes.all(is_attribute)).then_some(ClientFirst {
            gs2_header,
            bare,
            username,
            nonce,
        })
    }
}

fn text(message: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(message).ok()?;
    (message.len() <= MESSAGE_BYTES_MAX && !text.contains('\0')).then_some(text)
}

/// A name in which `=2C` stands for a comma and `=3D` for an equals sign.
fn saslname(encoded: &str) -> Option<String> {
    let mut parts = encoded.split('=');
    let mut name = parts.next()?.to_owned();
    for part in parts {
        let (character, rest) = match part.get(..2)? {
            "2C" => (',', &part[2..]),
            "3D" => ('=', &part[2..]),
            _ => return None,
        };
        name.push(character);
        name.push_str(rest);
    }
    (!name.is_empty()).then_some(name)
}

/// `x=…`, as optional extensions are, which are passed over.
fn is_attribute(text: &str) -> bool {
    matches!(text.as_bytes(), [letter, b'=', _, ..] if letter.is_ascii_alphabetic())
}

/// An exchange whose challenge is sent.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// What `c=` and `r=` of the client's last message must be.
    expected: String,
    /// The messages so far, as they are signed.
    messages: String,
}

impl Exchange {
    /// The challenge: by which salt and how many iterations the password is to be hashed. `nonce` is ours, of characters
    /// of Base64, never used twice.
    pub(crate) fn challenge(
        first: &ClientFirst<'_>,
        nonce: &str,
        salt: &[u8],
        iterations: u32,
    ) -> (Exchange, Bytes) {
        let nonce = format!("{}{nonce}", first.nonce);
        let challenge = format!("r={nonce},s={},i={iterations}", STANDARD.encode(salt));
        let expected = format!("c={},r={nonce}", STANDARD.encode(first.gs2_header));
        let messages = format!("{},{challenge},", first.bare);
        (Exchange { expected, messages }, Bytes::from(challenge))
    }

    /// Takes the client's last message. The server's last one, with its own proof, if the client's is right; `None` if
    /// the message is malformed or the proof is wrong.
    pub(crate) fn verify(
        mut self,
        message: &[u8],
        stored_key: &[u8; KEY_BYTES],
        server_key: &[u8; KEY_BYTES],
    ) -> Option<Bytes> {
        let (unproven, proof) = text(message)?.rsplit_once(",p=")?;
        let extensions = unproven.strip_prefix(self.expected.as_str())?;
        let extensions_sound =
            extensions.is_empty() || extensions.strip_prefix(',')?.split(',').all(is_attribute);
        let mut client_key: [u8; KEY_BYTES] = STANDARD.decode(proof).ok()?.try_into().ok()?;
        self.messages.push_str(unproven);
        let sign = |key: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), self.messages.as_bytes());
        for (byte, mask) in client_key.iter_mut().zip(sign(stored_key).as_ref()) {
            *byte ^= mask;
        }
        let right = verify_slices_are_equal(digest(&SHA256, &client_key).as_ref(), stored_key).is_ok();
        let signature = STANDARD.encode(sign(server_key));
        (right && extensions_sound).then(|| Bytes::from(format!("v={signature}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677 section 3: password `pencil`.
    const FIRST: &[u8] = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const SALT: &str = "W22ZaJ0SNY7soEsUEjb6gQ==";
    const CHALLENGE: &str =
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const LAST: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                        p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    const SIGNATURE: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    fn key(hex: &str) -> [u8; 32] {
        let byte = |at: usize| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("hexadecimal");
        std::array::from_fn(byte)
    }

    fn verify(last: &str) -> Option<Bytes> {
        let first = ClientFirst::parse(FIRST).expect("sound");
        assert_eq!(first.username, "user");
        let salt = STANDARD.decode(SALT).expect("Base64");
        let (exchange, challenge) = Exchange::challenge(&first, NONCE, &salt, 4_096);
        assert_eq!(challenge, CHALLENGE);
        let stored_key = key("586e5df283e6dceb5c3e791d8b8528ec191e664045ce971792e2e6b5bb13e2a6");
        let server_key = key("c1f3cbc1c13a9d35a14c0990eed97629ea225863e566a4314ab99f3f00e5d9d5");
        exchange.verify(last.as_bytes(), &stored_key, &server_key)
    }

    #[test]
    fn the_example_of_rfc_7677() {
        assert_eq!(verify(LAST).expect("the proof is right"), SIGNATURE);
    }

    #[test]
    fn last_messages_that_prove_nothing() {
        for (what, last) in [
            ("another proof", LAST.replace("dHzb", "dHzc")),
            ("another nonce", LAST.replace("r=rOpr", "r=rOps")),
            ("a shorter nonce", LAST.replace("$k0,", "$k,")),
            ("another binding", LAST.replace("biws", "eSws")),
            ("no proof", LAST.split_once(",p=").expect("there is one").0.to_owned()),
            ("a proof of no length", "c=biws,r=x,p=".to_owned()),
            ("a proof that is no Base64", LAST.replace("dHzb", "d?zb")),
            ("a longer proof", format!("{LAST}AAAA")),
            ("an extension without a name", LAST.replace(",p=", ",oops,p=")),
            ("an extension that was not signed", LAST.replace(",p=", ",x=y,p=")),
            ("nothing", String::new()),
        ] {
            assert_eq!(verify(&last), None, "{what}");
        }
    }

    #[test]
    fn first_messages() {
        let username = |message: &str| ClientFirst::parse(message.as_bytes()).map(|first| first.username);
        for (message, name) in [
            ("n,,n=user,r=x", "user"),
            ("y,,n=user,r=x", "user"),
            ("n,a=user,n=user,r=x", "user"),
            ("n,a=a=2Cb,n=a=2Cb,r=x", "a,b"),
            ("n,,n=a=3Db=2C,r=x", "a=b,"),
            ("n,,n=user,r=x,z=later", "user"),
            ("n,,n=acme/ü,r=x", "acme/ü"),
        ] {
            assert_eq!(username(message).as_deref(), Some(name), "{message}");
        }
        for message in [
            "",
            "n",
            "n,,",
            "n,,n=user",
            "n,,n=,r=x",
            "n,,n=user,r=",
            "n,,r=x,n=user",
            "n,,n=a=2cb,r=x",
            "n,,n=a=,r=x",
            "n,,n=a=2,r=x",
            "n,,n=us\0er,r=x",
            "n,,n=user,r=a\tb",
            "n,,n=user,r=ü",
            "n,,m=x,n=user,r=x",
            "n,,n=user,r=x,oops",
            "n,,n=user,r=x,",
            "n,a=root,n=user,r=x",
            "n,user,n=user,r=x",
            "p=tls-exporter,,n=user,r=x",
            "p,,n=user,r=x",
            "N,,n=user,r=x",
            &format!("n,,n=user,r={}", "x".repeat(257)),
            &format!("n,,n={},r=x", "x".repeat(2_048)),
        ] {
            assert_eq!(username(message), None, "{message:?}");
        }
        assert_eq!(ClientFirst::parse(b"n,,n=\xff,r=x"), None);
    }
}
