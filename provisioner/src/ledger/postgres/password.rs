//! The password of a database, from the same sources as for PostgreSQL's own tools.

use std::path::PathBuf;

use cli_support::secrets;
use tokio_postgres::Config;
use tokio_postgres::config::Host;
use zeroize::Zeroizing;

use super::super::LocationError;

/// The password in `PGPASSWORD`, or in the first matching line of the password file: the file that
/// `PGPASSFILE` names, or `~/.pgpass` (PostgreSQL documentation, "The Password File").
pub(in super::super) fn password_of(access: &Config) -> Result<Option<Zeroizing<String>>, LocationError> {
    if let Some(password) = std::env::var("PGPASSWORD").ok().filter(|password| !password.is_empty()) {
        return Ok(Some(Zeroizing::new(password)));
    }
    let named = std::env::var_os("PGPASSFILE").map(PathBuf::from);
    let Some(path) = named.clone().or_else(|| Some(std::env::home_dir()?.join(".pgpass"))) else {
        return Ok(None);
    };
    let unusable = |why: String| LocationError::PasswordFile { path: path.clone(), why };
    if named.is_none() && !path.exists() {
        return Ok(None);
    }
    let shared = secrets::shared_mode(&path).map_err(|error| unusable(error.to_string()))?;
    if shared.is_some() {
        return Err(unusable("others may read it; `chmod 600` it".to_owned()));
    }
    let text = cli_support::text::read(&path).map_err(|error| unusable(error.to_string()))?;
    Ok(Sought::each(access).iter().find_map(|sought| find(&text, sought)))
}

struct Sought {
    host: String,
    port: String,
    database: String,
    user: String,
}

impl Sought {
    /// The password of several servers: all use the same one, so the first match for any of them is
    /// used.
    fn each(access: &Config) -> Vec<Self> {
        let user = access.get_user().unwrap_or_default();
        let (hosts, addresses, ports) = (access.get_hosts(), access.get_hostaddrs(), access.get_ports());
        let server = |index: usize| Self {
            host: match (hosts.get(index), addresses.get(index)) {
                (Some(Host::Tcp(host)), _) => host.clone(),
                (None, Some(address)) => address.to_string(),
                // Sockets are looked for under this name.
                _ => "localhost".to_owned(),
            },
            port: ports.get(index).or_else(|| ports.first()).copied().unwrap_or(5432).to_string(),
            database: access.get_dbname().unwrap_or(user).to_owned(),
            user: user.to_owned(),
        };
        (0..hosts.len().max(addresses.len())).map(server).collect()
    }
}

fn find(text: &str, sought: &Sought) -> Option<Zeroizing<String>> {
    let connection = [&sought.host, &sought.port, &sought.database, &sought.user];
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(fields).find_map(|mut fields| {
        let fits = fields.len() == 5
            && fields
                .iter()
                .zip(connection)
                .all(|(field, connection)| field.as_str() == "*" || field.as_str() == connection.as_str());
        fits.then(|| fields.pop()).flatten()
    })
}

/// The fields of a line, separated by colons; a backslash escapes the next character.
fn fields(line: &str) -> Vec<Zeroizing<String>> {
    let mut fields = vec![Zeroizing::new(String::new())];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        let taken = match character {
            ':' => {
                fields.push(Zeroizing::new(String::new()));
                continue;
            }
            '\\' => characters.next(),
            other => Some(other),
        };
        if let Some(field) = fields.last_mut() {
            field.extend(taken);
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_fits_gives_the_password() {
        let file = "# ours\nother:*:*:*:no\ndb.example:5432:units:line3:a\\:b\\\\c\n*:*:*:*:last\n";
        let password = |url: &str| {
            let servers = Sought::each(&url.parse().unwrap());
            servers.iter().find_map(|sought| find(file, sought)).map(|password| password.to_string())
        };
        assert_eq!(password("postgres://line3@db.example/units").as_deref(), Some("a:b\\c"));
        assert_eq!(password("postgres://line4@db.example/units").as_deref(), Some("last"));
        assert_eq!(password("postgres://line3@other:1/x").as_deref(), Some("no"));
        assert_eq!(
            password("host=db.example,other port=5432 user=line3 dbname=units").as_deref(),
            Some("a:b\\c")
        );
    }
}
