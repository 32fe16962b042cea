//! Where a ledger is: a file, or a PostgreSQL database.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use tokio_postgres::Config;
use tokio_postgres::config::Host;
use zeroize::Zeroizing;

use super::postgres::password_of;

/// Where a ledger is. Shown, it tells no password.
#[derive(Clone)]
pub enum LedgerLocation {
    /// In this SQLite file.
    File(PathBuf),
    /// In this database.
    Postgres(Box<Config>),
}

/// Why a text is no place for a ledger. It never repeats the text, which may hold a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocationError {
    /// A password in an argument can be read by everybody on the machine.
    #[error("the ledger's URL holds a password, and arguments can be read by everybody on this machine")]
    PasswordInArgument,
    /// The file with passwords is readable by others, or can't be read.
    #[error("the password file `{}` can't be used: {why}", path.display())]
    PasswordFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// It is no URL of a PostgreSQL database.
    #[error("the ledger's URL is not understood")]
    Url(#[source] tokio_postgres::Error),
}

impl LedgerLocation {
    /// The place that an argument or, without one, the environment names: a file, or a database whose
    /// URL begins with `postgres://`. The password of a database comes from the environment's URL, from
    /// `PGPASSWORD`, or from the password file of PostgreSQL's own tools.
    pub fn choose(argument: Option<&str>, environment: Option<&str>) -> Result<Self, LocationError> {
        match (argument, environment) {
            (Some(argument), _) => match argument.parse()? {
                Self::Postgres(config) if config.get_password().is_some() => {
                    Err(LocationError::PasswordInArgument)
                }
                location => location.with_password(),
            },
            (None, Some(text)) if !text.is_empty() => text.parse::<Self>()?.with_password(),
            (None, _) => Ok(Self::File(DEFAULT.into())),
        }
    }

    /// The folder that a file lies in; none for a database.
    pub fn folder(&self) -> Option<&Path> {
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
        match text.starts_with("postgres://") || text.starts_with("postgresql://") {
            true => Ok(Self::Postgres(Box::new(text.parse().map_err(LocationError::Url)?))),
            false => Ok(Self::File(text.into())),
        }
    }
}

impl fmt::Display for LedgerLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Postgres(config) => {
                f.write_str("postgres://")?;
                if let Some(user) = config.get_user() {
                    write!(f, "{user}@")?;
                }
                match config.get_hosts().first() {
                    Some(Host::Tcp(host)) => f.write_str(host)?,
                    #[cfg(unix)]
                    Some(Host::Unix(path)) => path.display().fmt(f)?,
                    None => {}
                }
                if let Some(port) = config.get_ports().first() {
                    write!(f, ":{port}")?;
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
    fn a_wrong_url_is_not_repeated() {
        let refused = LedgerLocation::choose(None, Some("postgres://u:hunter2@host:port/db")).unwrap_err();
        let text = crate::causes::with_causes(&refused);
        assert!(!text.contains("hunter2"), "{text}");
    }
}
