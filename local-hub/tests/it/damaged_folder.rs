//! A damaged data folder: each kind of damage is reported, and the hub does not start silently.

use std::fs;
use std::path::Path;

use local_hub::{Config, Error, LocalHub};
use rusqlite::Connection;
use serde_json::json;

use crate::support::TestHub;

fn in_folder(folder: &Path) -> Config {
    Config { data: Some(folder.to_owned()), ..Config::default() }
}

/// A data folder of a hub with a device.
async fn served() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let hub = TestHub::start_with(in_folder(folder.path())).await;
    hub.client.put("/devices/d", None, &json!({"deviceId": "d"})).await.ok();
    hub.hub.shutdown().await;
    folder
}

/// The message with which the hub refuses to start.
async fn refused(folder: &Path) -> String {
    let error = LocalHub::start(in_folder(folder)).await.unwrap_err();
    assert!(
        matches!(error, Error::Damaged { .. } | Error::Newer { .. } | Error::FolderWritable { .. }),
        "{error:?}"
    );
    error.to_string()
}

#[tokio::test]
async fn damaged_ca_files_are_named() {
    let cases: [(&str, &[u8], &str); 3] = [
        (
            "ca-key.pem",
            b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            "the key can't be read",
        ),
        ("ca.pem", b"no certificate", "the certificate can't be read"),
        ("ca.pem", b"", "the certificate can't be read"),
    ];
    for (file, content, wanted) in cases {
        let folder = served().await;
        fs::write(folder.path().join(file), content).unwrap();
        let error = refused(folder.path()).await;
        assert!(error.contains("ca.pem is damaged") && error.contains(wanted), "{error}");
    }
    let (folder, other) = (served().await, served().await);
    fs::copy(other.path().join("ca-key.pem"), folder.path().join("ca-key.pem")).unwrap();
    assert!(refused(folder.path()).await.contains("the certificate is of another key"));
    fs::remove_file(folder.path().join("ca-key.pem")).unwrap();
    assert!(refused(folder.path()).await.contains("ca-key.pem is damaged: it is missing"));
}

#[tokio::test]
async fn a_database_that_is_newer_emptied_gone_or_foreign_is_refused() {
    let folder = served().await;
    let database = folder.path().join("hub.db");
    Connection::open(&database).unwrap().pragma_update(None, "user_version", 7).unwrap();
    assert!(refused(folder.path()).await.contains("newer local-hub (format 7, this one knows 1)"));
    Connection::open(&database).unwrap().pragma_update(None, "user_version", 1).unwrap();
    Connection::open(&database).unwrap().execute_batch("DROP TABLE documents").unwrap();
    assert!(refused(folder.path()).await.contains("its tables are missing"));
    fs::remove_file(&database).unwrap();
    Connection::open(&database).unwrap().execute_batch("CREATE TABLE bookmarks (url)").unwrap();
    assert!(refused(folder.path()).await.contains("a different program"));
    fs::write(&database, "").unwrap();
    assert!(refused(folder.path()).await.contains("it is empty"));
    fs::remove_file(&database).unwrap();
    assert!(refused(folder.path()).await.contains("it is missing"));
}

#[tokio::test]
async fn a_database_whose_making_was_cut_off_is_finished() {
    for gone in ["documents", "identities"] {
        let folder = served().await;
        let database = Connection::open(folder.path().join("hub.db")).unwrap();
        database.execute_batch(&format!("DROP TABLE {gone}; PRAGMA user_version = 0")).unwrap();
        drop(database);
        let hub = TestHub::start_with(in_folder(folder.path())).await;
        hub.client.put("/devices/e", None, &json!({"deviceId": "e"})).await.ok();
        hub.hub.shutdown().await;
    }
}

#[tokio::test]
async fn a_rotten_log_says_how_many_writes_it_has_lost() {
    let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let hub = TestHub::start_with(in_folder(folder.path())).await;
    for number in 0..20 {
        let id = format!("d{number}");
        hub.client.put(&format!("/devices/{id}"), None, &json!({"deviceId": id})).await.ok();
    }
    // As a killed hub leaves it.
    for entry in fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    hub.hub.shutdown().await;
    let log = copy.path().join("hub.db-wal");
    let mut bytes = fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&log, &bytes).unwrap();
    let error = refused(copy.path()).await;
    assert!(error.contains("acknowledged writes from byte"), "{error}");
    // The advice works: what came before the damage is there.
    let at: u64 = error.split("truncate -s ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    fs::OpenOptions::new().write(true).open(&log).unwrap().set_len(at).unwrap();
    let hub = TestHub::start_with(in_folder(copy.path())).await;
    hub.client.get("/devices/d0").await.ok();
}

#[cfg(unix)]
#[tokio::test]
async fn a_folder_that_others_can_write_to_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    for mode in [0o777, 0o770, 0o722] {
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
        assert!(refused(folder.path()).await.contains("others can write into"), "{mode:o}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    LocalHub::start(in_folder(folder.path())).await.unwrap();
}

#[tokio::test]
async fn what_never_became_durable_is_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let hub = TestHub::start_with(in_folder(folder.path())).await;
    hub.client.put("/devices/kept", None, &json!({"deviceId": "kept"})).await.ok();
    // From now on nothing can be written, as on a full disk.
    let database = Connection::open(folder.path().join("hub.db")).unwrap();
    database.execute_batch("DROP TABLE identities").unwrap();
    let lost = hub.client.put("/devices/lost", None, &json!({"deviceId": "lost"})).await;
    assert_eq!(lost.status, 500);
    for path in ["/devices/lost", "/devices/kept", "/twins/kept", "/devices", "/statistics/devices"] {
        assert_eq!(hub.client.get(path).await.status, 500, "{path}");
    }
    assert_eq!(hub.client.query("SELECT * FROM devices", &[]).await.status, 500);
}
