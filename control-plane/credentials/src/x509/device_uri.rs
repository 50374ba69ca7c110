//! The subject alternative name by which a certificate that we issue says whose it is.

use std::fmt;
use std::str::FromStr;

use crate::names::{DeviceName, NameError, TenantName};

/// `urn:revoq:<tenant>:<device>`. A tenant's name has no colon; a device's may.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DeviceUri {
    /// Where the device lives.
    pub tenant: TenantName,
    /// Its name.
    pub device: DeviceName,
}

impl fmt::Display for DeviceUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "urn:revoq:{}:{}", self.tenant, self.device)
    }
}

impl FromStr for DeviceUri {
    type Err = NameError;

    fn from_str(uri: &str) -> Result<DeviceUri, NameError> {
        let (tenant, device) = uri
            .strip_prefix("urn:revoq:")
            .and_then(|rest| rest.split_once(':'))
            .ok_or_else(|| NameError::new("device URI", uri, "urn:revoq:<tenant>:<device>"))?;
        Ok(DeviceUri { tenant: tenant.parse()?, device: device.parse()? })
    }
}
