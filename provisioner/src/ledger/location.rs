//! The location of a ledger: a file, or a PostgreSQL database.

use hub_types::shown::ShownPath;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use tokio_postgres::Config;
use tokio_postgres::config::Host;
use zeroize::Zeroizing;

use super::postgres::password_of;

/// The location of a ledger. Its text form contains no password.
#[derive(Clone)]
pub(crate) enum LedgerLocation {
    /// An SQLite file.
    File(PathBuf),
    /// A PostgreSQL database.
    Postgres(Box<Config>),
}

/// The reason why a text is not a ledger location. It never repeats the text, which may hold a
/// password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum LocationError {
    /// The variable of the environment is set, and names nothing.
    #[error("PROVISIONER_LEDGER is set but empty")]
    EmptyVariable,
    /// A password in an argument can be read by everybody on the machine.
    #[error("the ledger's address holds a password, and arguments can be read by everybody on this machine")]
    PasswordInArgument,
    /// The text is not a database address, and may contain a secret, so it is not used as a file
    /// name.
    #[error("the ledger's address is not understood; it is not shown, as it seems to hold a secret")]
    Secret,
    /// The text is a URL, but not of a supported database.
    #[error("a ledger lies in a file or in a PostgreSQL database, and its address is the URL of neither")]
    Scheme,
    /// The address names no server.
    #[error("the ledger's address names no server")]
    NoHost,
    /// The password file is readable by others, or can't be read.
    #[error("the password file `{}` can't be used: {why}", ShownPath(path))]
    PasswordFile {
        /// The file.
        path: PathBuf,
        /// The fault.
        why: String,
    },
    /// The text is not a valid address of a PostgreSQL database.
    #[error("the ledger's address is not understood as that of a PostgreSQL database")]
    Address(#[source] tokio_postgres::Error),
}

impl LedgerLocation {
    /// Returns the location that an argument or, without one, the environment names: a file, or a
    /// database whose URL begins with `postgres://` or whose parameters are given as
    /// `host=db.example dbname=units`. The password of a database comes from the environment's
    /// address, from `PGPASSWORD`, or from the password file of PostgreSQL's own tools.
    pub(crate) fn choose(argument: Option<&str>, environment: Option<&str>) -> Result<Self, LocationError> {
        match (argument, environment) {
            (Some(argument), _) => match argument.parse()? {
                Self::Postgres(config) if config.get_password().is_some() => {
                    Err(LocationError::PasswordInArgument)
                }
                location => location.with_password(),
            },
            (None, Some(text)) if text.trim().is_empty() => Err(LocationError::EmptyVariable),
            (None, Some(text)) => text.parse::<Self>()?.with_password(),
            (None, None) => Ok(Self::File(DEFAULT.into())),
        }
    }

    /// The folder of a file; `None` for a database.
    pub(crate) fn folder(&self) -> Option<&Path> {
        match self {
            Self::File(path) => {
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
                Some(folder.unwrap_or_else(|| Path::new(".")))
            }
            Self::Postgres(_) => None,
        }
    }

    fn with_password(self) -> Result<Self, LocationError> {
        match self {
            Self::Postgres(mut config) if config.get_password().is_none() => {
                let password: Option<Zeroizing<String>> = password_of(&config)?;
                if let Some(password) = password {
                    config.password(password.as_bytes());
                }
                Ok(Self::Postgres(config))
            }
            other => Ok(other),
        }
    }
}

impl FromStr for LedgerLocation {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_url = text.starts_with("postgres://") || text.starts_with("postgresql://");
        if is_url || begins_with_parameter(text) {
            let config: Config = text.parse().map_err(LocationError::Address)?;
            return match config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
                true => Err(LocationError::NoHost),
                false => Ok(Self::Postgres(Box::new(config))),
            };
        }
        match text.contains("://") {
            _ if smells_of_a_secret(text) => Err(LocationError::Secret),
            true => Err(LocationError::Scheme),
            false => Ok(Self::File(text.into())),
        }
    }
}

/// Returns true if a text begins like PostgreSQL's parameters: `host=…`, with or without blanks
/// around the sign.
fn begins_with_parameter(text: &str) -> bool {
    let name = text.split_once('=').map(|(name, _)| name.trim());
    name.is_some_and(|name| PARAMETERS.contains(&name))
}

/// Returns true if a text may hold a secret: the access data of a hub or a database in the wrong
/// place.
fn smells_of_a_secret(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let is_named = SECRETS.iter().any(|name| {
        text.match_indices(name).any(|(at, _)| {
            text.get(at + name.len()..).is_some_and(|rest| rest.trim_start().starts_with(['=', ':']))
        })
    });
    // `user:password@host`, whatever stands before it. A folder's drive is followed by a separator.
    let credentials = text.rsplit_once('@').and_then(|(before, _)| before.rsplit(['/', '\\']).next());
    is_named || credentials.is_some_and(|credentials| credentials.contains(':'))
}

/// The parameters of PostgreSQL's connection strings (libpq, "Parameter Key Words").
const PARAMETERS: &[&str] = &[
    "application_name",
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "dbname",
    "fallback_application_name",
    "gssdelegation",
    "gssencmode",
    "gsslib",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "krbsrvname",
    "load_balance_hosts",
    "max_protocol_version",
    "min_protocol_version",
    "options",
    "passfile",
    "password",
    "port",
    "replication",
    "require_auth",
    "requirepeer",
    "scram_client_key",
    "scram_server_key",
    "service",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcert",
    "sslcertmode",
    "sslcompression",
    "sslcrl",
    "sslcrldir",
    "sslkey",
    "sslmode",
    "sslnegotiation",
    "sslpassword",
    "sslrootcert",
    "target_session_attrs",
    "user",
];

/// Parameter names of secrets.
const SECRETS: [&str; 8] = [
    "password",
    "passwd",
    "pwd",
    "secret",
    "sharedaccesskey",
    "accountkey",
    "sharedaccesssignature",
    "token",
];

impl fmt::Display for LedgerLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => ShownPath(path).fmt(f),
            Self::Postgres(config) => {
                f.write_str("postgres://")?;
                if let Some(user) = config.get_user() {
                    write!(f, "{user}@")?;
                }
                let (hosts, addresses, ports) =
                    (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
                for index in 0..hosts.len().max(addresses.len()) {
                    if index > 0 {
                        f.write_str(",")?;
                    }
                    match (hosts.get(index), addresses.get(index)) {
                        (Some(Host::Tcp(host)), _) => f.write_str(host)?,
                        #[cfg(unix)]
                        (Some(Host::Unix(path)), _) => ShownPath(path).fmt(f)?,
                        (None, Some(address)) => address.fmt(f)?,
                        (None, None) => {}
                    }
                    if let Some(port) = ports.get(index).or_else(|| ports.first()) {
                        write!(f, ":{port}")?;
                    }
                }
                write!(f, "/{}", config.get_dbname().unwrap_or_default())
            }
        }
    }
}

impl fmt::Debug for LedgerLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

const DEFAULT: &str = "provisioner.ledger";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_taken_from_the_environment_and_never_from_an_argument() {
        let url = "postgres://line3:hunter2@db.example:5433/units";
        let refused = LedgerLocation::choose(Some(url), None).unwrap_err();
        assert!(matches!(refused, LocationError::PasswordInArgument));
        assert!(!format!("{refused} {refused:?}").contains("hunter2"));
        let location = LedgerLocation::choose(None, Some(url)).unwrap();
        let LedgerLocation::Postgres(config) = &location else { panic!("{location}") };
        assert_eq!(config.get_password(), Some(b"hunter2".as_slice()));
        assert_eq!(location.to_string(), "postgres://line3@db.example:5433/units");
        assert!(!format!("{location:?}").contains("hunter2"));
    }

    #[test]
    fn everything_else_is_a_file() {
        let chosen =
            |argument, environment| LedgerLocation::choose(argument, environment).unwrap().to_string();
        assert_eq!(chosen(None, None), "provisioner.ledger");
        assert_eq!(chosen(None, Some("env.ledger")), "env.ledger");
        assert_eq!(chosen(Some("line 3.ledger"), Some("env.ledger")), "line 3.ledger");
    }

    #[test]
    fn a_variable_that_is_empty_names_no_ledger() {
        for empty in ["", " \n"] {
            let refused = LedgerLocation::choose(None, Some(empty)).unwrap_err();
            assert_eq!(refused.to_string(), "PROVISIONER_LEDGER is set but empty");
        }
        assert_eq!(LedgerLocation::choose(Some("line.ledger"), Some("")).unwrap().to_string(), "line.ledger");
    }

    #[test]
    fn a_database_may_be_named_by_parameters_and_by_several_servers() {
        let shown = |text: &str| LedgerLocation::choose(Some(text), None).unwrap().to_string();
        assert_eq!(shown("host=db.example user=line3 dbname=units"), "postgres://line3@db.example/units");
        assert_eq!(shown(" user = line3 host=a,b port=1,2 dbname=u"), "postgres://line3@a:1,b:2/u");
        assert_eq!(
            shown("postgres://line3@a,b:2/u?target_session_attrs=read-write"),
            "postgres://line3@a:5432,b:2/u"
        );
        assert_eq!(shown("./host=a.ledger"), "./host=a.ledger", "a file of that name can still be named");
        assert_eq!(shown("C:\\ledgers\\line@3.ledger"), "C:\\ledgers\\line@3.ledger");
    }

    #[test]
    fn what_may_hold_a_secret_is_refused_and_not_repeated() {
        let texts = [
            "postgres://u:hunter2@host:port/db",
            "postgres://u@host/db?password=hunter2&nonsense=1",
            "host=db.example password=hunter2 dbname=units",
            "password = hunter2",
            "user=u password='hunter2",
            "host=db.example sslpassword=hunter2",
            "postgresql//u:hunter2@host/db",
            "postgress://u:hunter2@host/db",
            "mysql://u:hunter2@host/db",
            "u:hunter2@host/db",
            "Server=db;Pwd=hunter2;",
            "jdbc:postgresql://host/db?user=u&password=hunter2",
            "HostName=h.azure-devices.net;SharedAccessKeyName=n;SharedAccessKey=hunter2",
            "--password hunter2 --token: hunter2",
        ];
        for text in texts {
            let refused = LedgerLocation::choose(Some(text), None).unwrap_err();
            let shown = format!("{refused:?} {}", cli_support::causes::with_causes(&refused));
            assert!(!shown.contains("hunter2"), "{text}: {shown}");
        }
        // From the environment, a database's password is welcome; everything else is refused there too.
        assert!(LedgerLocation::choose(None, Some("host=db.example password=hunter2")).is_ok());
        for text in ["mysql://u:hunter2@host/db", "postgres//u:hunter2@host/db"] {
            let refused = LedgerLocation::choose(None, Some(text)).unwrap_err();
            assert!(!format!("{refused:?} {refused}").contains("hunter2"));
        }
        let refused = LedgerLocation::choose(Some("mysql://host/db"), None).unwrap_err();
        assert!(matches!(refused, LocationError::Scheme));
        assert!(matches!(LedgerLocation::choose(Some("dbname=u"), None), Err(LocationError::NoHost)));
    }
}
