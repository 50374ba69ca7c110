//! What a username is challenged with, and what the answer is verified by: asked on first use, and cached.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use revoq_credentials::limits::{ITERATIONS_DEFAULT, SALT_BYTES_DEFAULT};
use revoq_credentials::{DeviceName, Fingerprint, Password, TenantName, Username, Verifier};
use revoq_proto::client::Persistence;
use revoq_proto::v1;

use super::{KEPT_MS, LookUps, NoAnswer};
use crate::metrics::Metrics;

/// The control plane's word on a username. One that has no password is challenged as if it had one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FoundPassword {
    pub(crate) salt: Vec<u8>,
    pub(crate) iterations: u32,
    /// Whatever its state is: the view has that.
    pub(crate) known: Option<KnownPassword>,
}

/// A password that there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KnownPassword {
    pub(crate) tenant: TenantName,
    pub(crate) device: DeviceName,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) verifier: Verifier,
    /// The only client identifier that may use it.
    pub(crate) client_id: Option<String>,
}

impl FoundPassword {
    /// Of a name that none can have: nothing is to be asked, and nothing to be hidden.
    pub(crate) fn impossible(name: &str) -> FoundPassword {
        let salt = digest(&SHA256, name.as_bytes()).as_ref()[..SALT_BYTES_DEFAULT].to_vec();
        FoundPassword { salt, iterations: ITERATIONS_DEFAULT, known: None }
    }
}

impl LookUps {
    /// The password of a username. `now` is of the boot clock. That there is none is kept as long: the time that an answer
    /// takes does not tell.
    pub(crate) async fn find_password(
        &self,
        tenant: &TenantName,
        username: &Username,
        now: u64,
        metrics: &Metrics,
    ) -> Result<Arc<FoundPassword>, NoAnswer> {
        let key = Password::look_up_key(tenant, username);
        if let Some(found) = self.passwords.find(&key, now) {
            return Ok(found);
        }
        let asked = self.passwords.voids(&key);
        let found = Arc::new(self.limited(self.ask_password(tenant, username), metrics).await?);
        self.passwords.keep(key, found.clone(), now.saturating_add(KEPT_MS), asked);
        Ok(found)
    }

    async fn ask_password(
        &self,
        tenant: &TenantName,
        username: &Username,
    ) -> Result<FoundPassword, NoAnswer> {
        let request = v1::PasswordName { tenant: tenant.to_string(), username: username.to_string() };
        let response = self
            .channel
            .call(Persistence::READ, |channel| {
                let mut client = v1::node_client::NodeClient::new(channel);
                let request = request.clone();
                async move { client.look_up_password(request).await }
            })
            .await;
        let response = response.map_err(|status| {
            tracing::debug!(%tenant, %username, %status, "look-up failed");
            NoAnswer::Unavailable
        })?;
        read(response.into_inner()).ok_or_else(|| {
            tracing::warn!(%tenant, %username, "the answer to a look-up cannot be read");
            NoAnswer::Unavailable
        })
    }
}

/// `None`: the answer makes no sense.
fn read(response: v1::LookUpPasswordResponse) -> Option<FoundPassword> {
    let verifier = response.verifier?;
    let (salt, iterations) = (verifier.salt.to_vec(), verifier.iterations);
    let known = match response.password {
        None => None,
        Some(password) => Some(KnownPassword {
            tenant: password.tenant.parse().ok()?,
            device: password.device.parse().ok()?,
            fingerprint: Fingerprint(password.fingerprint[..].try_into().ok()?),
            verifier: Verifier::try_from(verifier).ok()?,
            client_id: Some(password.client_id).filter(|client_id| !client_id.is_empty()),
        }),
    };
    Some(FoundPassword { salt, iterations, known })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response() -> v1::LookUpPasswordResponse {
        let password = v1::Password {
            tenant: "t".into(),
            username: "pump".into(),
            device: "d".into(),
            fingerprint: vec![7; 32].into(),
            state: v1::State::Suspended.into(),
            ..v1::Password::default()
        };
        let verifier = v1::Verifier {
            salt: vec![1; 16].into(),
            iterations: 4_096,
            stored_key: vec![2; 32].into(),
            server_key: vec![3; 32].into(),
        };
        v1::LookUpPasswordResponse { password: Some(password), verifier: Some(verifier), revision: 9 }
    }

    #[test]
    fn answers_are_read() {
        let found = read(response()).expect("it makes sense");
        let known = found.known.as_ref().expect("there is one");
        assert_eq!((known.fingerprint, known.client_id.as_deref()), (Fingerprint([7; 32]), None));
        assert_eq!(found.iterations, 4_096);
        let unknown =
            read(v1::LookUpPasswordResponse { password: None, ..response() }).expect("it makes sense");
        assert_eq!((unknown.known, unknown.salt), (None, found.salt));
        assert_eq!(read(v1::LookUpPasswordResponse { verifier: None, ..response() }), None);
        let mut broken = response();
        broken.verifier.as_mut().expect("there is one").stored_key.clear();
        assert_eq!(read(broken), None);
    }

    #[test]
    fn names_that_none_can_have_get_the_same_salt_each_time() {
        let of = FoundPassword::impossible;
        assert_eq!(of("ü"), of("ü"));
        assert_ne!(of("ü").salt, of("ö").salt);
    }
}
