//! Connection strings: `Name=value;…`, the form in which access to a hub is handed out.
//!
//! Names are read in any letter case; an unknown or doubled name is an error, as in Microsoft's
//! Python client; a value may contain `=`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use zeroize::Zeroizing;

use crate::id::{DeviceId, IdentityId, ModuleId};
use crate::symmetric_key::SymmetricKey;

/// The host of a hub, with a port where it is not the standard one: `hub.example`, `localhost:8443`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HubHost(String);

impl HubHost {
    /// The text, which is also the resource that tokens for the whole hub are signed for.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host without its port.
    pub fn name(&self) -> &str {
        self.0.split_once(':').map_or(&self.0, |(name, _port)| name)
    }

    /// Returns true if the host is this machine, by name or by loopback address. No hub of Azure
    /// is.
    pub fn is_loopback(&self) -> bool {
        let name = self.name();
        let is_address = name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback());
        is_address || name.eq_ignore_ascii_case("localhost")
    }
}

impl fmt::Display for HubHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for HubHost {
    type Err = ConnectionStringError;

    fn from_str(text: &str) -> Result<Self, ConnectionStringError> {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        let host_is_legal = !host.is_empty()
            && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
        let port_is_legal = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0));
        if host_is_legal && port_is_legal {
            Ok(Self(text.to_owned()))
        } else {
            Err(ConnectionStringError::Value { name: "HostName" })
        }
    }
}

/// The data with which a service calls a hub. `Debug` shows everything but the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceConnectionString {
    /// The hub.
    pub host: HubHost,
    /// The name of the policy.
    pub policy: String,
    /// The policy's key.
    pub key: SymmetricKey,
}

impl ServiceConnectionString {
    /// The connection string as text: a secret.
    pub fn expose_text(&self) -> Zeroizing<String> {
        Zeroizing::new(format!(
            "HostName={};SharedAccessKeyName={};SharedAccessKey={}",
            self.host,
            self.policy,
            self.key.expose_text()
        ))
    }
}

impl FromStr for ServiceConnectionString {
    type Err = ConnectionStringError;

    fn from_str(text: &str) -> Result<Self, ConnectionStringError> {
        let mut fields = Fields::parse(text)?;
        if fields.0.contains_key("DeviceId") {
            return Err(ConnectionStringError::DeviceForService);
        }
        let policy = fields.take("SharedAccessKeyName")?;
        if policy.is_empty() {
            return Err(ConnectionStringError::Value { name: "SharedAccessKeyName" });
        }
        Ok(Self { host: fields.take("HostName")?.parse()?, key: fields.take_key()?, policy })
    }
}

/// The data with which a device or a module connects to a hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceConnectionString {
    /// The hub.
    pub host: HubHost,
    /// The identity that connects.
    pub identity: IdentityId,
    /// The identity's credential.
    pub credential: DeviceCredential,
    /// A gateway to go through instead of to the hub.
    pub gateway: Option<HubHost>,
}

/// The credential that a device connection string names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceCredential {
    /// The identity's own symmetric key.
    Key(SymmetricKey),
    /// A client certificate, which is stored separately.
    X509,
}

impl FromStr for DeviceConnectionString {
    type Err = ConnectionStringError;

    fn from_str(text: &str) -> Result<Self, ConnectionStringError> {
        let mut fields = Fields::parse(text)?;
        let device = DeviceId::new(&fields.take("DeviceId")?)
            .map_err(|_| ConnectionStringError::Value { name: "DeviceId" })?;
        let module = fields.0.remove("ModuleId").map(|text| ModuleId::new(&text)).transpose();
        let module = module.map_err(|_| ConnectionStringError::Value { name: "ModuleId" })?;
        let credential = match fields.0.remove("x509") {
            Some(flag) if flag.eq_ignore_ascii_case("true") => DeviceCredential::X509,
            Some(_) => return Err(ConnectionStringError::Value { name: "x509" }),
            None => DeviceCredential::Key(fields.take_key()?),
        };
        Ok(Self {
            host: fields.take("HostName")?.parse()?,
            identity: IdentityId::new(device, module),
            credential,
            gateway: fields.0.remove("GatewayHostName").map(|host| host.parse()).transpose()?,
        })
    }
}

/// The reason why a text is not a connection string. It never repeats the text, which may hold a
/// key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionStringError {
    /// The connection string of a device; the one of a service is needed.
    #[error("this is the connection string of a device; a policy's is needed (SharedAccessKeyName=…)")]
    DeviceForService,
    /// A name that occurs twice.
    #[error("`{name}` comes twice")]
    Doubled {
        /// The name.
        name: &'static str,
    },
    /// A part without `=`, or with an unknown name.
    #[error("part {part} is not one of {}", NAMES.join("=…, "))]
    Field {
        /// The number of the part, counted from 1.
        part: usize,
    },
    /// A required name is missing.
    #[error("`{name}=…` is missing")]
    Missing {
        /// The name.
        name: &'static str,
    },
    /// A value that is not valid for its name.
    #[error("the value of `{name}` is not legal")]
    Value {
        /// The name of the value.
        name: &'static str,
    },
}

/// The parts of a connection string by their canonical names.
struct Fields(BTreeMap<&'static str, String>);

impl Fields {
    fn parse(text: &str) -> Result<Self, ConnectionStringError> {
        let mut fields = BTreeMap::new();
        let parts = text.trim().split(';').enumerate().filter(|(_, part)| !part.trim().is_empty());
        for (index, part) in parts {
            let unknown = ConnectionStringError::Field { part: index + 1 };
            let (name, value) = part.split_once('=').ok_or(unknown)?;
            let known = NAMES.iter().find(|known| known.eq_ignore_ascii_case(name.trim()));
            let name = *known.ok_or(unknown)?;
            if fields.insert(name, value.trim().to_owned()).is_some() {
                return Err(ConnectionStringError::Doubled { name });
            }
        }
        Ok(Self(fields))
    }

    fn take(&mut self, name: &'static str) -> Result<String, ConnectionStringError> {
        self.0.remove(name).ok_or(ConnectionStringError::Missing { name })
    }

    fn take_key(&mut self) -> Result<SymmetricKey, ConnectionStringError> {
        let name = "SharedAccessKey";
        SymmetricKey::try_from(self.take(name)?).map_err(|_| ConnectionStringError::Value { name })
    }
}

const NAMES: [&str; 7] =
    ["HostName", "SharedAccessKeyName", "SharedAccessKey", "DeviceId", "ModuleId", "GatewayHostName", "x509"];

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

    #[test]
    fn a_service_connection_string_comes_back() {
        let text = format!("HostName=localhost:8443;SharedAccessKeyName=iothubowner;SharedAccessKey={KEY}");
        let parsed: ServiceConnectionString = text.parse().unwrap();
        assert_eq!(parsed.host.as_str(), "localhost:8443");
        assert_eq!(*parsed.expose_text(), text);
        assert!(!format!("{parsed:?}").contains("AQEB"));
    }

    #[test]
    fn a_host_is_this_machine_or_not() {
        let is_loopback = |host: &str| host.parse::<HubHost>().unwrap().is_loopback();
        assert!(["localhost", "LOCALHOST:8443", "127.0.0.1:1", "127.1.2.3"].into_iter().all(is_loopback));
        assert!(!["h.example", "localhost.example", "10.0.0.1"].into_iter().any(is_loopback));
    }

    #[test]
    fn names_are_read_in_any_case_and_order() {
        let text = format!("sharedaccesskey={KEY};HOSTNAME=h.example;sharedAccessKeyName=service;");
        assert_eq!(text.parse::<ServiceConnectionString>().unwrap().policy, "service");
    }

    #[test]
    fn a_device_connection_string_knows_its_credential() {
        let x509: DeviceConnectionString = "HostName=h.example;DeviceId=d;x509=true".parse().unwrap();
        assert_eq!(x509.credential, DeviceCredential::X509);
        let text = format!(
            "HostName=h.example;DeviceId=d;ModuleId=m;SharedAccessKey={KEY};GatewayHostName=localhost"
        );
        let module: DeviceConnectionString = text.parse().unwrap();
        assert_eq!(module.identity.common_name(), "d/m");
        assert_eq!(module.gateway.unwrap().as_str(), "localhost");
    }

    #[test]
    fn each_mistake_is_named_without_the_key() {
        let cases = [
            ("", "`SharedAccessKeyName=…` is missing"),
            ("HostName=h;HostName=h", "`HostName` comes twice"),
            ("HostName=h;Password=x", "part 2 is not one of"),
            ("hello", "part 1 is not one of"),
            ("HostName=h/x;SharedAccessKeyName=a;SharedAccessKey=AQEBAQEBAQEBAQEBAQEBAQ==", "`HostName`"),
            ("HostName=h;SharedAccessKeyName=a;SharedAccessKey=hunter2", "`SharedAccessKey`"),
            ("HostName=h;DeviceId=d;SharedAccessKey=x", "connection string of a device"),
        ];
        for (text, wanted) in cases {
            let error = text.parse::<ServiceConnectionString>().unwrap_err().to_string();
            assert!(error.contains(wanted) && !error.contains("hunter2"), "{text}: {error}");
        }
    }
}
