//! Passwords of devices: setting, reading, and what brokers verify them by.

use revoq_credentials::limits::{ITERATIONS_DEFAULT, SALT_BYTES_DEFAULT};
use revoq_credentials::query::{self, PasswordFilter};
use revoq_credentials::{NewPassword, Operation, Password, TenantName, Username, Verifier};
use revoq_proto::convert::{ConvertError, parse, parse_optional, values};
use revoq_proto::v1;
use revoq_proto::v1::passwords_server::Passwords;
use tonic::{Request, Response, Status, async_trait};

use super::devices::found_tenant;
use super::{Api, answer, pages};
use crate::access::{Caller, caller};
use crate::error::Error;
use crate::seal::KeyEncryptionKey;

#[async_trait]
impl Passwords for Api {
    async fn set(
        &self,
        request: Request<v1::SetPasswordRequest>,
    ) -> Result<Response<v1::SetPasswordResponse>, Status> {
        let caller = caller(&request);
        answer(self.set_password(&caller, request.into_inner()).await)
    }

    async fn list(
        &self,
        request: Request<v1::ListPasswordsRequest>,
    ) -> Result<Response<v1::ListPasswordsResponse>, Status> {
        answer(self.list_passwords(&request.into_inner()).await)
    }

    async fn show(&self, request: Request<v1::PasswordName>) -> Result<Response<v1::Password>, Status> {
        answer(self.show_password(&request.into_inner()).await)
    }
}

impl Api {
    async fn set_password(
        &self,
        caller: &Caller,
        request: v1::SetPasswordRequest,
    ) -> Result<v1::SetPasswordResponse, Error> {
        let (tenant, username) = name(&request.tenant, &request.username)?;
        let verifier = request.verifier.ok_or(ConvertError::missing("verifier"))?;
        let new = NewPassword {
            tenant: tenant.clone(),
            username: username.clone(),
            device: parse("device", &request.device)?,
            verifier: Verifier::try_from(verifier)?,
            client_id: Some(request.client_id).filter(|client_id| !client_id.is_empty()),
        };
        let outcome = self.change(caller, Operation::SetPassword { password: Box::new(new) }).await?;
        let password = query::password(&self.read().await?, &tenant, &username)?;
        Ok(v1::SetPasswordResponse {
            password: password.as_ref().map(v1::Password::from),
            revision: outcome.revision.0,
        })
    }

    async fn list_passwords(
        &self,
        request: &v1::ListPasswordsRequest,
    ) -> Result<v1::ListPasswordsResponse, Error> {
        let tenant: TenantName = parse("tenant", &request.tenant)?;
        let state = match request.state {
            0 => None,
            number => Some(values::state("state", number)?),
        };
        let filter = PasswordFilter { device: parse_optional("device", &request.device)?, state };
        let token = pages::token(&request.page_token)?;
        let reader = self.read().await?;
        found_tenant(&reader, &tenant)?;
        let read = |rows| query::list_passwords(&reader, &tenant, &filter, rows, token.as_ref());
        let rows = pages::size(request.page_size);
        let (passwords, next_page_token) = pages::fit(rows, read, |password| v1::Password::from(password))?;
        Ok(v1::ListPasswordsResponse { passwords, next_page_token, revision: reader.applied() })
    }

    async fn show_password(&self, request: &v1::PasswordName) -> Result<v1::Password, Error> {
        let (tenant, username) = name(&request.tenant, &request.username)?;
        let password = query::password(&self.read().await?, &tenant, &username)?;
        password
            .as_ref()
            .map(v1::Password::from)
            .ok_or_else(|| Error::NotFound { what: "password", value: format!("{tenant}/{username}") })
    }

    /// For brokers. Whatever its state is: their view has that.
    pub(super) async fn look_up_username(
        &self,
        request: &v1::PasswordName,
    ) -> Result<v1::LookUpPasswordResponse, Error> {
        let (tenant, username) = name(&request.tenant, &request.username)?;
        let reader = self.read_if_stale().await?;
        let password = query::password(&reader, &tenant, &username)?;
        let verifier = match &password {
            Some(Password { verifier, .. }) => v1::Verifier::from(verifier),
            None => made_up(&self.key_encryption_key, &tenant, &username),
        };
        Ok(v1::LookUpPasswordResponse {
            password: password.as_ref().map(v1::Password::from),
            verifier: Some(verifier),
            revision: reader.applied(),
        })
    }
}

fn name(tenant: &str, username: &str) -> Result<(TenantName, Username), Error> {
    Ok((parse("tenant", tenant)?, parse("username", username)?))
}

/// What a client is challenged with whose username has no password: the same at every time and on every node, so that
/// nobody can tell it from one that has (RFC 5802 section 9).
fn made_up(key: &KeyEncryptionKey, tenant: &TenantName, username: &Username) -> v1::Verifier {
    let named = format!("{tenant}/{username}");
    let salt = key.keyed_hash(b"revoq: salts of usernames without a password", named.as_bytes());
    v1::Verifier {
        salt: salt[..SALT_BYTES_DEFAULT].to_vec().into(),
        iterations: ITERATIONS_DEFAULT,
        ..v1::Verifier::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_salts_stay_and_differ() -> Result<(), Error> {
        let (one, other) = (KeyEncryptionKey::generate()?, KeyEncryptionKey::generate()?);
        let of = |key: &KeyEncryptionKey, tenant, username| -> Result<v1::Verifier, Error> {
            let (tenant, username) = name(tenant, username)?;
            Ok(made_up(key, &tenant, &username))
        };
        let first = of(&one, "default", "pump")?;
        assert_eq!((first.salt.len(), first.iterations), (SALT_BYTES_DEFAULT, ITERATIONS_DEFAULT));
        assert!(first.stored_key.is_empty() && first.server_key.is_empty());
        let again = KeyEncryptionKey::from_bytes(one.bytes())?;
        assert_eq!(of(&again, "default", "pump")?, first);
        for different in
            [of(&one, "default", "valve")?, of(&one, "t1", "pump")?, of(&other, "default", "pump")?]
        {
            assert_ne!(different.salt, first.salt);
        }
        Ok(())
    }
}
