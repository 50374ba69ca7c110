//! Whom a client certificate makes the client: the chain to a known authority, or a leaf that must be looked up.

use arc_swap::ArcSwap;
use revoq_credentials::x509::{self, DeviceUri};
use revoq_credentials::{
    AuthorityName, AuthorityView, Credential, DeviceName, Fingerprint, Millis, Principal, TenantName, View,
};
use rustls::CertificateError;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use crate::cache::Cache;

/// A leaf whose key the client has proved to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// An authority that we know vouches for it and names the device.
    Vouched(Principal),
    /// Nobody vouches for it: it may be registered as it is.
    Unknown {
        /// Of the whole leaf.
        fingerprint: Fingerprint,
        /// Its notAfter.
        not_after: Millis,
    },
}

/// The authorities of the view as trust anchors, and the leaves that were verified against them.
pub(crate) struct Trust {
    anchors: ArcSwap<Anchors>,
    verified: Cache<Identity>,
    algorithms: WebPkiSupportedAlgorithms,
}

#[derive(Default)]
struct Anchors {
    anchors: Vec<TrustAnchor<'static>>,
    /// All authorities, those that are not usable included.
    of: Vec<Voucher>,
    /// At the same index as its anchor.
    vouchers: Vec<Voucher>,
}

/// An authority, as what it vouches for needs to know it.
#[derive(Clone, PartialEq, Eq)]
struct Voucher {
    tenant: TenantName,
    name: AuthorityName,
    fingerprint: Fingerprint,
    not_after: Millis,
    /// Whatever it issued was registered when it was signed.
    signs: bool,
}

impl Trust {
    pub(crate) fn new(algorithms: WebPkiSupportedAlgorithms, cached_max: usize) -> Trust {
        Trust { anchors: ArcSwap::default(), verified: Cache::new(cached_max), algorithms }
    }

    /// Takes over the authorities of a view, if there are others than before; their states do not matter here. An
    /// authority that is no usable trust anchor vouches for nobody.
    pub(crate) fn update(&self, view: &View) {
        let vouchers: Vec<_> = view.authorities().map(Voucher::from).collect();
        if vouchers == self.anchors.load().of {
            return;
        }
        let mut anchors = Anchors { of: vouchers, ..Anchors::default() };
        for authority in view.authorities() {
            let der = CertificateDer::from(authority.der.as_slice());
            let Ok(anchor) = webpki::anchor_from_trusted_cert(&der) else {
                tracing::warn!(tenant = %authority.tenant, authority = %authority.name, "not usable as a trust anchor");
                continue;
            };
            anchors.anchors.push(anchor.to_owned());
            anchors.vouchers.push(authority.into());
        }
        self.anchors.store(anchors.into());
        self.verified.clear();
    }

    /// Who the owner of this chain is. The certificates need not have been verified before.
    ///
    /// # Errors
    /// A certificate that cannot be read, or that is out of its validity. Everything else that WebPKI dislikes only
    /// means that nobody vouches for it.
    pub(crate) fn identify(
        &self,
        chain: &[CertificateDer<'_>],
        now: Millis,
    ) -> Result<Identity, CertificateError> {
        let (leaf, intermediates) = chain.split_first().ok_or(CertificateError::BadEncoding)?;
        let fingerprint = Fingerprint::of(leaf);
        if let Some(identity) = self.verified.find(&fingerprint) {
            return Ok(identity);
        }
        let parsed = x509::parse(leaf).map_err(|_| CertificateError::BadEncoding)?;
        let not_after = parsed.not_after;
        let identity = self.voucher(leaf, intermediates, now)?.and_then(|voucher| {
            // What an external authority says of devices is not ours: its leaves are looked up.
            let voucher = Some(voucher).filter(|voucher| voucher.signs)?;
            let device = device(&parsed, &voucher.tenant)?;
            let credential = Credential::Certificate {
                fingerprint,
                authority: Some(voucher.name),
                // A session does not outlive the authority either.
                not_after: not_after.min(voucher.not_after),
            };
            Some(Identity::Vouched(Principal {
                tenant: voucher.tenant,
                device: Some(device),
                credential,
                password: None,
            }))
        });
        let identity = identity.unwrap_or(Identity::Unknown { fingerprint, not_after });
        self.verified.keep(fingerprint, identity.clone());
        Ok(identity)
    }

    /// Leaves that are remembered.
    pub(crate) fn cached(&self) -> usize {
        self.verified.len()
    }

    fn voucher(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: Millis,
    ) -> Result<Option<Voucher>, CertificateError> {
        let Ok(end_entity) = EndEntityCert::try_from(leaf) else { return Ok(None) };
        let anchors = self.anchors.load();
        let time = UnixTime::since_unix_epoch(std::time::Duration::from_millis(now.0));
        let path = end_entity.verify_for_usage(
            self.algorithms.all,
            &anchors.anchors,
            intermediates,
            time,
            KeyUsage::client_auth(),
            None,
            None,
        );
        match path {
            Ok(path) => {
                let index = anchors.anchors.iter().position(|anchor| std::ptr::eq(anchor, path.anchor()));
                Ok(index.map(|index| anchors.vouchers[index].clone()))
            }
            Err(webpki::Error::CertExpired { .. }) => Err(CertificateError::Expired),
            Err(webpki::Error::CertNotValidYet { .. }) => Err(CertificateError::NotValidYet),
            Err(_) => Ok(None),
        }
    }
}

/// The device that one of our certificates names. An authority names devices of its own tenant only.
fn device(parsed: &x509::Parsed, tenant: &TenantName) -> Option<DeviceName> {
    let mut devices = parsed.uris.iter().filter_map(|uri| uri.parse::<DeviceUri>().ok());
    devices.find(|uri| uri.tenant == *tenant).map(|uri| uri.device)
}

impl From<&AuthorityView> for Voucher {
    fn from(authority: &AuthorityView) -> Voucher {
        Voucher {
            tenant: authority.tenant.clone(),
            name: authority.name.clone(),
            fingerprint: authority.fingerprint,
            not_after: authority.not_after,
            signs: authority.signs,
        }
    }
}

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Trust({} authorities)", self.anchors.load().vouchers.len())
    }
}
