//! Server settings with which a failure can lose committed writes.

use super::super::column::ResultRow;
use super::client::{Client, Error};

/// The settings of a server and its standbys for the durability of commits.
struct Settings {
    fsync: String,
    synchronous_commit: String,
    synchronous_standby_names: String,
    has_standbys: bool,
}

/// The losses that the settings allow, each with its setting.
pub(super) fn all(client: &mut Client) -> Result<Vec<String>, Error> {
    let row = client.query_one(
        "SELECT current_setting('fsync'), current_setting('synchronous_commit'),
                current_setting('synchronous_standby_names'), EXISTS (SELECT 1 FROM pg_stat_replication)",
        &[],
    )?;
    let settings = Settings {
        fsync: row.at(0)?,
        synchronous_commit: row.at(1)?,
        synchronous_standby_names: row.at(2)?,
        has_standbys: row.at(3)?,
    };
    Ok(settings.weaknesses())
}

impl Settings {
    fn weaknesses(&self) -> Vec<String> {
        let mut all = Vec::new();
        if self.fsync == "off" {
            all.push("`fsync` is off: a failure of the server's machine can damage or lose it".to_owned());
        }
        let commit = self.synchronous_commit.as_str();
        if commit == "off" {
            all.push(
                "`synchronous_commit` is off: a crash of the server can lose what was written last"
                    .to_owned(),
            );
        }
        if self.has_standbys
            && (self.synchronous_standby_names.is_empty() || matches!(commit, "off" | "local"))
        {
            let why = match self.synchronous_standby_names.is_empty() {
                true => "`synchronous_standby_names` is empty".to_owned(),
                false => format!("`synchronous_commit` is {commit}"),
            };
            all.push(format!("{why}: a standby that takes over can lack what was written last"));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_that_can_lose_the_end_of_a_ledger_is_told() {
        let told = |fsync: &str, commit: &str, names: &str, has_standbys| {
            let settings = Settings {
                fsync: fsync.to_owned(),
                synchronous_commit: commit.to_owned(),
                synchronous_standby_names: names.to_owned(),
                has_standbys,
            };
            settings.weaknesses().join("; ")
        };
        assert_eq!(told("on", "on", "", false), "");
        assert_eq!(told("on", "on", "*", true), "");
        assert_eq!(told("on", "remote_apply", "*", true), "");
        assert!(told("off", "on", "", false).contains("`fsync` is off"));
        assert!(told("on", "off", "", false).contains("`synchronous_commit` is off"));
        assert!(told("on", "on", "", true).contains("`synchronous_standby_names` is empty"));
        assert!(told("on", "local", "*", true).contains("`synchronous_commit` is local"));
    }
}
