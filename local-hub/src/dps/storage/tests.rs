use hub_types::dps::bulk::BulkMode;
use hub_types::dps::registration::{RegistrationGroup, RegistrationStatus};
use hub_types::dps::{EnrollmentGroup, IndividualEnrollment, RegistrationState};
use hub_types::{IfMatch, Timestamp};
use serde_json::{from_value, json};

use super::super::journal::DpsJournal;
use super::super::registry::DpsRegistry;
use super::DpsStore;

fn at(second: u64) -> Timestamp {
    Timestamp::from_ticks(639_000_000_000_000_000 + second * 10_000_000).unwrap()
}

fn commit(store: &DpsStore, registry: &DpsRegistry, journal: &DpsJournal) {
    store.write(registry.rows(journal.touched()).unwrap()).blocking_recv().unwrap();
}

#[test]
fn what_was_committed_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dps.db");
    let (store, mut registry) = DpsStore::open(&path).unwrap();
    let mut journal = DpsJournal::default();
    let enrollments: Vec<IndividualEnrollment> = (0..1000)
        .map(|number| {
            from_value(json!({
                "registrationId": format!("Pump-{number:04}"), "attestation": {"type": "symmetricKey"},
                "initialTwin": {"tags": {"n": 0.1}}, "provisioningStatus": null,
            }))
            .unwrap()
        })
        .collect();
    assert!(registry.put_all(enrollments, BulkMode::Create, at(1), &mut journal).is_empty());
    let group: EnrollmentGroup =
        from_value(json!({"enrollmentGroupId": "factory", "attestation": {"type": "symmetricKey"}})).unwrap();
    registry.put(group.clone(), None, at(2), &mut journal).unwrap();
    let mut state = RegistrationState::new("leaf-1".parse().unwrap(), RegistrationStatus::Assigned);
    state.symmetric_key =
        Some(RegistrationGroup { enrollment_group_id: Some(group.enrollment_group_id.clone()) });
    registry.put_registration(state, at(3), &mut journal).unwrap();
    commit(&store, &registry, &journal);
    // A different spelling of an id is the same entry.
    let mut journal = DpsJournal::default();
    registry.delete::<IndividualEnrollment>(&"PUMP-0007".parse().unwrap(), None, &mut journal).unwrap();
    let mut changed = registry.enrollment(&"pump-0008".parse().unwrap()).unwrap();
    changed.device_id = Some("other".parse().unwrap());
    registry.put(changed, Some(&IfMatch::Any), at(4), &mut journal).unwrap();
    commit(&store, &registry, &journal);
    store.close();

    let (store, loaded) = DpsStore::open(&path).unwrap();
    store.close();
    assert!(loaded.enrollments.values().eq(registry.enrollments.values()));
    assert_eq!(loaded.enrollments.len(), 999);
    assert!(loaded.groups().eq(registry.groups()));
    let of_group = |registry: &DpsRegistry| {
        registry.registrations_of(&group.enrollment_group_id, None).cloned().collect::<Vec<_>>()
    };
    assert_eq!(of_group(&loaded).len(), 1);
    assert_eq!(of_group(&loaded), of_group(&registry));
}

#[test]
fn a_damaged_record_is_named_without_its_content() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dps.db");
    DpsStore::open(&path).unwrap().0.close();
    let connection = rusqlite::Connection::open(&path).unwrap();
    let sql = "INSERT INTO records (kind, id, record) VALUES ('enrollment', 'a', CAST(?1 AS BLOB))";
    connection.execute(sql, [r#"{"registrationId":"a","s3cret"}"#]).unwrap();
    drop(connection);
    let error = DpsStore::open(&path).map(drop).unwrap_err().to_string();
    assert!(
        error.contains("enrollment a: the record breaks at column") && !error.contains("s3cret"),
        "{error}"
    );
}
