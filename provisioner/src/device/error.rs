//! The reason why a device or a module could not connect, or not read its twin.

use std::io;
use std::time::Duration;

use cli_support::wrong_form::JsonMistake;
use hub_types::dps::id::RegistrationIdError;
use hub_types::dps::registration::RegistrationStatus;
use hub_types::shown::ShownBare;
use mqtt_protocol_core::mqtt::result_code::{ConnectReturnCode, MqttError};
use rustls::AlertDescription;

use super::DeviceHubAddress;
use crate::hub::{ErrorClass, NetworkFailure, class_of_status};

/// The reason why a connection as a device or a module failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ConnectError {
    /// The hub was down for so long that it was given up.
    #[error("the hub at {address} has taken no connection for {} min", away.as_secs() / 60)]
    Down {
        /// The expected address.
        address: DeviceHubAddress,
        /// For how long.
        away: Duration,
    },
    /// The hub closed the connection, without a word.
    #[error("the hub hung up in the middle of {step}")]
    HungUp {
        /// The failed step.
        step: &'static str,
    },
    /// The connection broke.
    #[error("the connection broke in the middle of {step}")]
    Lost {
        /// The failed step.
        step: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// The DPS has not assigned the device to a hub.
    #[error("the DPS has assigned it to no hub: it is `{status}`{}", told(*code, message))]
    NotAssigned {
        /// The state of the registration.
        status: RegistrationStatus,
        /// The code of the failure, if the DPS names one.
        code: Option<u32>,
        /// The failure in words.
        message: String,
    },
    /// The device was registered, and failed on its hub.
    #[error("the DPS has assigned it to the hub {hub}, where it failed")]
    OnAssignedHub {
        /// The hub.
        hub: String,
        /// The failure.
        source: Box<Self>,
    },
    /// The device id is no registration id.
    #[error("a DPS refuses its id as a registration id")]
    RegistrationId(#[source] RegistrationIdError),
    /// The DPS does not let the device register.
    #[error("the DPS refused the registration ({status}{})", told(*code, ""))]
    RegistrationRefused {
        /// An HTTP status.
        status: u16,
        /// The error code, if the DPS names one.
        code: Option<u32>,
    },
    /// The twin that came is none.
    #[error("the hub sent something that is not a twin")]
    Malformed(#[source] JsonMistake),
    /// The received bytes are not MQTT, or a packet is out of order.
    #[error("the hub broke the protocol of MQTT in the middle of {step} (reason code {:#04x})", *error as u16)]
    Protocol {
        /// The failed step.
        step: &'static str,
        /// The error in the protocol.
        error: MqttError,
    },
    /// The hub does not let this identity in.
    #[error("the hub refused the connection: {}", meaning(*.0))]
    Refused(ConnectReturnCode),
    /// The hub does not take the certificate.
    #[error("the hub refused the certificate ({})", alert(*.0))]
    RefusedCertificate(AlertDescription),
    /// The hub does not let the identity have answers about its twin.
    #[error("the hub refused the subscription to answers about the twin")]
    RefusedSubscription,
    /// The hub's address or a root can't be used.
    #[error("no connection can be made")]
    Setup(#[source] rustls::Error),
    /// The process is to stop.
    #[error("stopped while connecting as devices")]
    Stopped,
    /// No answer came.
    #[error("no answer within {} s in the middle of {step}", after.as_secs())]
    TimedOut {
        /// The failed step.
        step: &'static str,
        /// The time until it was given up.
        after: Duration,
    },
    /// The hub let the identity in, and then did not give it the twin.
    #[error("the hub answered {status} to the request for the twin")]
    TwinRefused {
        /// An HTTP status.
        status: u16,
    },
    /// There is nobody, or no way to get there.
    #[error("no connection to {address}: {failure}")]
    Unreachable {
        /// The expected address.
        address: DeviceHubAddress,
        /// Why.
        failure: NetworkFailure,
    },
    /// The server can't prove to be the hub.
    #[error("the certificate of the hub at {address} is not trusted")]
    Untrusted {
        /// The address.
        address: DeviceHubAddress,
        /// Why.
        source: io::Error,
    },
    /// A bug.
    #[error("a worker failed")]
    Worker(#[source] tokio::task::JoinError),
}

/// The consequence of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnectErrorClass {
    /// It will be refused the next time too.
    Refused,
    /// Nobody can connect from here as long as something is not mended.
    Setup,
    /// The process is to stop, or has waited long enough.
    Stopped,
    /// Too many connections or requests: later it will be taken.
    Throttled,
    /// It may pass.
    Transient,
}

impl ConnectError {
    /// The consequence of the error.
    pub(crate) fn class(&self) -> ConnectErrorClass {
        match self {
            Self::HungUp { .. } | Self::Lost { .. } | Self::TimedOut { .. } | Self::Unreachable { .. } => {
                ConnectErrorClass::Transient
            }
            Self::Refused(ConnectReturnCode::ServerUnavailable) => ConnectErrorClass::Throttled,
            Self::OnAssignedHub { source, .. } => match source.class() {
                // The trouble of one hub is not that of all devices.
                ConnectErrorClass::Setup => ConnectErrorClass::Refused,
                class => class,
            },
            Self::TwinRefused { status } | Self::RegistrationRefused { status, .. } => {
                match class_of_status(*status) {
                    ErrorClass::Throttled => ConnectErrorClass::Throttled,
                    ErrorClass::Transient => ConnectErrorClass::Transient,
                    ErrorClass::Auth | ErrorClass::Foreign | ErrorClass::Input | ErrorClass::Permanent => {
                        ConnectErrorClass::Refused
                    }
                }
            }
            Self::Malformed(_)
            | Self::NotAssigned { .. }
            | Self::RegistrationId(_)
            | Self::Protocol { .. }
            | Self::Refused(_)
            | Self::RefusedCertificate(_)
            | Self::RefusedSubscription => ConnectErrorClass::Refused,
            Self::Setup(_) | Self::Untrusted { .. } | Self::Worker(_) => ConnectErrorClass::Setup,
            Self::Down { .. } | Self::Stopped => ConnectErrorClass::Stopped,
        }
    }

    /// Returns true if the error would be the same for every identity.
    pub(crate) fn concerns_all(&self) -> bool {
        matches!(self.class(), ConnectErrorClass::Setup | ConnectErrorClass::Stopped)
    }

    /// The remedy, for people.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Refused(ConnectReturnCode::ServerUnavailable) | Self::TwinRefused { status: 429 } => Some(
                "the hub's tier and units bound its rate: name them with `--tier` and `--units`, or try again later",
            ),
            Self::OnAssignedHub { source, .. } => source.hint(),
            Self::RegistrationRefused { status: 429, .. } => {
                Some("a DPS takes 1,000 registrations a minute; try again later")
            }
            Self::RegistrationRefused { .. } => Some(
                "see that an enabled enrolment or group lets this certificate or key in: the certificate is the enrolled \
                 one, or its chain leads to the CA of the group; its common name is the registration id; its time has \
                 begun and is not over. The log of a local DPS names the reason",
            ),
            Self::NotAssigned { .. } => Some("see the enrolment: its allocation, its hubs and its function"),
            Self::Refused(_) => Some(
                "see that the identity is on the hub and enabled, and that it is to prove who it is by this very \
                 certificate or key: its thumbprint is one of the two there, or its CA is one that the hub knows, its \
                 common name is the identity, and its time is not over",
            ),
            Self::RefusedCertificate(_) => Some(
                "look at it with `cert-tool show` and `cert-tool verify`; a hub whose TLS does not read certificates of \
                 version 1, with a critical extension that is unknown or with a curve that is written out refuses them, and \
                 another hub may take them by their thumbprints",
            ),
            Self::Down { .. } | Self::Unreachable { .. } => Some(
                "let connections to this port out of the firewall (a proxy for HTTPS is of no use for MQTT), or name \
                 where the hub listens for devices with `--mqtt HOST:PORT`",
            ),
            Self::Untrusted { .. } => Some(
                "name the root of its certificate with `--ca-file FILE`; where something else listens on this port, \
                 name the hub's with `--mqtt HOST:PORT`",
            ),
            _ => None,
        }
    }

    /// The error of a message that can't be read.
    pub(super) fn malformed(error: &serde_json::Error) -> Self {
        Self::Malformed(JsonMistake::new(error))
    }

    /// Classifies an error of a TLS stream.
    pub(super) fn broken(error: io::Error, step: &'static str, address: &DeviceHubAddress) -> Self {
        match tls_error(&error) {
            Some(rustls::Error::InvalidCertificate(_)) => {
                Self::Untrusted { address: address.clone(), source: error }
            }
            Some(rustls::Error::AlertReceived(alert)) if is_about_certificate(*alert) => {
                Self::RefusedCertificate(*alert)
            }
            _ => Self::lost(error, step),
        }
    }

    /// Classifies an error of an open connection. With TLS 1.3 a client learns only now whether the
    /// server accepts its certificate.
    pub(super) fn lost(error: io::Error, step: &'static str) -> Self {
        match tls_error(&error) {
            Some(rustls::Error::AlertReceived(alert)) if is_about_certificate(*alert) => {
                Self::RefusedCertificate(*alert)
            }
            // Many servers do not say goodbye as TLS asks for.
            _ if error.kind() == io::ErrorKind::UnexpectedEof => Self::HungUp { step },
            _ => Self::Lost { step, source: error },
        }
    }
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

fn is_about_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::AccessDenied
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRequired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::DecryptError
            | AlertDescription::HandshakeFailure
            | AlertDescription::UnknownCA
            | AlertDescription::UnsupportedCertificate
    )
}

/// The code and the words of a failure, as the end of a sentence.
fn told(code: Option<u32>, message: &str) -> String {
    let code = code.map_or_else(|| ", without an error code".to_owned(), |code| format!(", {code}"));
    match message {
        "" => code,
        message => format!("{code}: {}", ShownBare(message)),
    }
}

/// An alert as RFC 8446, section 6, names it.
fn alert(alert: AlertDescription) -> String {
    let name = match alert {
        AlertDescription::AccessDenied => "access denied",
        AlertDescription::BadCertificate => "bad certificate",
        AlertDescription::CertificateExpired => "certificate expired",
        AlertDescription::CertificateRequired => "certificate required",
        AlertDescription::CertificateRevoked => "certificate revoked",
        AlertDescription::CertificateUnknown => "certificate unknown",
        AlertDescription::DecryptError => "decrypt error",
        AlertDescription::HandshakeFailure => "handshake failure",
        AlertDescription::UnknownCA => "unknown CA",
        AlertDescription::UnsupportedCertificate => "unsupported certificate",
        other => return format!("TLS alert {}", u8::from(other)),
    };
    format!("TLS alert {}: {name}", u8::from(alert))
}

fn meaning(code: ConnectReturnCode) -> &'static str {
    match code {
        ConnectReturnCode::NotAuthorized => "not authorised",
        ConnectReturnCode::BadUserNameOrPassword => "bad user name or password",
        ConnectReturnCode::ServerUnavailable => "it is not available now",
        ConnectReturnCode::IdentifierRejected => "the client id is not taken",
        ConnectReturnCode::UnacceptableProtocolVersion => "MQTT 3.1.1 is not taken",
        ConnectReturnCode::Accepted => "it is accepted",
    }
}
