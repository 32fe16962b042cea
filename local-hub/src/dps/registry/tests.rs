use hub_types::dps::limits::MAX_SYMMETRIC_KEY_GROUPS;
use hub_types::dps::registration::{RegistrationGroup, RegistrationStatus};
use proptest::prelude::*;
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::{Value, from_value, json, to_value};

use super::*;

const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

fn at(second: u64) -> Timestamp {
    Timestamp::from_ticks(639_000_000_000_000_000 + second * 10_000_000).unwrap()
}

fn enrollment(document: Value) -> IndividualEnrollment {
    from_value(document).unwrap()
}

fn with_keys(id: &str) -> IndividualEnrollment {
    let keys = json!({"primaryKey": KEY, "secondaryKey": KEY});
    enrollment(json!({"registrationId": id, "attestation": {"type": "symmetricKey", "symmetricKey": keys}}))
}

fn group(id: &str) -> EnrollmentGroup {
    from_value(json!({"enrollmentGroupId": id, "attestation": {"type": "symmetricKey"}})).unwrap()
}

fn certificate(common_name: &str) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
}

fn put<E: Entry>(
    registry: &mut DpsRegistry,
    entry: E,
    demand: Option<&IfMatch>,
    second: u64,
) -> ApiResult<E> {
    registry.put(entry, demand, at(second), &mut DpsJournal::default())
}

fn etag(settings: &hub_types::dps::enrollment::EnrollmentSettings) -> IfMatch {
    IfMatch::Exactly(settings.etag.clone().unwrap())
}

#[test]
fn an_entry_is_created_once_and_replaced_by_its_etag() {
    let mut registry = DpsRegistry::default();
    let created = put(&mut registry, with_keys("pump"), None, 1).unwrap();
    assert_eq!(created.settings.created_date_time_utc, Some(at(1)));
    assert_eq!(created.settings.allocation_policy.unwrap().as_str(), "hashed");
    let again = put(&mut registry, with_keys("PUMP"), None, 2).unwrap_err();
    assert_eq!((again.number, again.text.as_str()), (409_201, "Enrollment already exists."));
    let demand = etag(&created.settings);
    let replaced = put(&mut registry, with_keys("pump"), Some(&demand), 3).unwrap();
    assert_eq!(replaced.settings.created_date_time_utc, Some(at(1)));
    assert_eq!(replaced.settings.last_updated_date_time_utc, Some(at(3)));
    assert_ne!(replaced.settings.etag, created.settings.etag);
    assert_eq!(put(&mut registry, with_keys("pump"), Some(&demand), 4).unwrap_err().number, 412_201);
    assert_eq!(put(&mut registry, with_keys("other"), Some(&IfMatch::Any), 4).unwrap_err().number, 404_201);
    let deleted = |registry: &mut DpsRegistry, demand: Option<&IfMatch>| {
        registry.delete::<IndividualEnrollment>(&created.registration_id, demand, &mut DpsJournal::default())
    };
    assert_eq!(deleted(&mut registry, Some(&demand)).unwrap_err().number, 412_201);
    assert_eq!(deleted(&mut registry, None), Ok(()));
    assert_eq!(deleted(&mut registry, None).unwrap_err().number, 404_201);
}

#[test]
fn keys_are_generated_kept_and_shown_to_writers_only() {
    let mut registry = DpsRegistry::default();
    let created = put(&mut registry, group("factory"), None, 1).unwrap();
    let Attestation::SymmetricKey(Some(keys)) = &created.attestation else { panic!("{created:?}") };
    assert_ne!(keys.primary, keys.secondary);
    let shown: EnrollmentGroup = registry.shown_entry(&created.enrollment_group_id).unwrap();
    assert_eq!(to_value(&shown.attestation).unwrap(), json!({"type": "symmetricKey"}));
    let replaced = put(&mut registry, shown, Some(&etag(&created.settings)), 2).unwrap();
    assert_eq!(replaced.attestation, created.attestation);
    let attestation = registry.shown_attestation::<EnrollmentGroup>(&created.enrollment_group_id).unwrap();
    assert_eq!(attestation, created.attestation);
}

#[test]
fn facts_stand_in_for_certificates_and_can_be_sent_back() {
    let mut registry = DpsRegistry::default();
    let document = |certificates: Value| json!({"registrationId": "pump", "attestation": {"type": "x509", "x509": {"clientCertificates": certificates}}});
    let sent = enrollment(document(json!({"primary": {"certificate": certificate("pump")}})));
    let created = put(&mut registry, sent, None, 1).unwrap();
    let x509 = &to_value(&created).unwrap()["attestation"]["x509"]["clientCertificates"];
    assert_eq!(x509["primary"]["info"]["subjectName"], "CN=pump");
    assert_eq!(x509["primary"], x509["secondary"]);
    assert!(x509["primary"].get("certificate").is_none());
    // The whole answer with a further certificate: the known one needs no certificate.
    let mut certificates = x509.clone();
    certificates["secondary"] = json!({"certificate": certificate("pump")});
    let both = put(&mut registry, enrollment(document(certificates)), Some(&IfMatch::Any), 2).unwrap();
    let shown = &to_value(&both).unwrap()["attestation"]["x509"]["clientCertificates"];
    assert_eq!(shown["primary"], x509["primary"]);
    assert_ne!(shown["primary"], shown["secondary"]);
    // Facts alone are no proof for a certificate that the entry never had.
    let mut foreign = enrollment(document(shown.clone()));
    foreign.registration_id = "other".parse().unwrap();
    let error = put(&mut registry, foreign, None, 3).unwrap_err();
    assert!(error.number == 400_000 && error.text.contains("needs `certificate`"), "{error}");
}

#[test]
fn a_group_keeps_the_certificate_that_its_devices_do_not_present() {
    let mut registry = DpsRegistry::default();
    let signing = json!({"signingCertificates": {"primary": {"certificate": certificate("factory")}}});
    let sent: EnrollmentGroup =
        from_value(json!({"enrollmentGroupId": "factory", "attestation": {"x509": signing}})).unwrap();
    let created = put(&mut registry, sent, None, 1).unwrap();
    let has_certificate =
        |group: &EnrollmentGroup| to_value(group).unwrap().to_string().contains("\"certificate\"");
    assert!(!has_certificate(&created));
    assert!(registry.groups().all(|group| has_certificate(&group)));
}

#[test]
fn bulk_items_are_judged_one_by_one() {
    let mut registry = DpsRegistry::default();
    let mut journal = DpsJournal::default();
    let mut bulk = |items: Vec<IndividualEnrollment>, mode| {
        let errors = registry.put_all(items, mode, at(1), &mut journal);
        errors
            .iter()
            .map(|error| (error.registration_id.clone().unwrap(), error.error_code))
            .collect::<Vec<_>>()
    };
    assert_eq!(bulk(vec![with_keys("a"), with_keys("b")], BulkMode::Create), []);
    let error = |id: &str, code: u32| (id.to_owned(), code);
    assert_eq!(bulk(vec![with_keys("b"), with_keys("c")], BulkMode::Create), [error("b", 409_201)]);
    // As a live DPS answers an update without an ETag.
    assert_eq!(
        bulk(vec![with_keys("a"), with_keys("x")], BulkMode::Update),
        [error("a", 409_201), error("x", 404_201)]
    );
    let mut wrong = with_keys("a");
    wrong.settings.etag = Some(Etag::new("wrong"));
    assert_eq!(bulk(vec![wrong], BulkMode::UpdateIfMatchEtag), [error("a", 412_201)]);
    let mut current = registry.shown_entry::<IndividualEnrollment>(&"a".parse().unwrap()).unwrap();
    current.device_id = Some("renamed".parse().unwrap());
    assert!(registry.put_all(vec![current], BulkMode::Update, at(2), &mut journal).is_empty());
    let deletions = vec![("a".parse().unwrap(), None), ("x".parse().unwrap(), None)];
    let errors = registry.delete_all::<IndividualEnrollment>(deletions, &mut journal);
    assert_eq!(errors.len(), 1);
    let counts = journal.counts;
    assert_eq!((counts.created, counts.updated, counts.deleted, counts.failed), (3, 1, 1, 5));
}

#[test]
fn a_single_entry_shows_the_registration_of_its_device() {
    let mut registry = DpsRegistry::default();
    let created = put(&mut registry, with_keys("pump"), None, 1).unwrap();
    assert_eq!(created.registration_state, None);
    let id = &created.registration_id;
    let status = |registry: &DpsRegistry| {
        let shown: IndividualEnrollment = registry.shown_entry(id).unwrap();
        shown.registration_state.unwrap().status
    };
    assert_eq!(status(&registry), RegistrationStatus::Unassigned);
    let state = RegistrationState::new(id.clone(), RegistrationStatus::Assigned);
    let first = registry.put_registration(state.clone(), at(2), &mut DpsJournal::default()).unwrap();
    assert_eq!(status(&registry), RegistrationStatus::Assigned);
    let second = registry.put_registration(state, at(3), &mut DpsJournal::default()).unwrap();
    assert_eq!((second.created_date_time_utc, second.last_updated_date_time_utc), (Some(at(2)), Some(at(3))));
    let demand = first.etag.map(IfMatch::Exactly);
    let mut delete =
        |demand: Option<&IfMatch>| registry.delete_registration(id, demand, &mut DpsJournal::default());
    assert_eq!(delete(demand.as_ref()).unwrap_err().number, 412_203);
    assert_eq!(delete(second.etag.map(IfMatch::Exactly).as_ref()), Ok(()));
    assert_eq!(delete(None).unwrap_err().number, 404_203);
}

#[test]
fn registrations_of_a_group_follow_the_group_of_the_last_registration() {
    let mut registry = DpsRegistry::default();
    let mut register = |id: &str, group: Option<&str>| {
        let mut state = RegistrationState::new(id.parse().unwrap(), RegistrationStatus::Assigned);
        state.x509 = group.map(|group| RegistrationGroup { enrollment_group_id: group.parse().ok() });
        registry.put_registration(state, at(1), &mut DpsJournal::default()).unwrap();
    };
    for id in ["a", "b", "c"] {
        register(id, Some("one"));
    }
    register("b", Some("two"));
    register("c", None);
    let ids = |group: &str, after: Option<&str>| {
        let (group, after) = (group.parse().unwrap(), after.map(|after| after.parse().unwrap()));
        let of_group = registry.registrations_of(&group, after.as_ref());
        of_group.map(|state| state.registration_id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(ids("one", None), ["a"]);
    assert_eq!(ids("TWO", None), ["b"]);
    assert!(ids("one", Some("a")).is_empty() && ids("three", None).is_empty());
}

#[test]
fn the_limits_of_the_service_apply_where_they_are_asked_for() {
    let mut registry = DpsRegistry::default();
    for number in 0..=MAX_SYMMETRIC_KEY_GROUPS {
        put(&mut registry, group(&format!("g{number}")), None, 1).unwrap();
    }
    registry.limit();
    assert_eq!(put(&mut registry, group("one-more"), None, 2).unwrap_err().number, 403_001);
    // Groups with certificates have a bound of their own.
    let references = json!({"x509": {"caReferences": {"primary": "factory-ca"}}});
    let x509: EnrollmentGroup =
        from_value(json!({"enrollmentGroupId": "x", "attestation": references})).unwrap();
    assert!(put(&mut registry, x509, None, 2).is_ok());
}

proptest! {
    #[test]
    fn pages_show_every_entry_once(ids in proptest::collection::btree_set("[a-z0-9]{1,3}", 0..40), size in 1_usize..9) {
        let mut registry = DpsRegistry::default();
        for id in &ids {
            put(&mut registry, with_keys(id), None, 1).unwrap();
        }
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page: Vec<_> =
                registry.shown_entries::<IndividualEnrollment>(after.as_ref()).take(size).collect();
            let Some(last) = page.last() else { break };
            after = Some(last.registration_id.clone());
            seen.extend(page.into_iter().map(|entry| entry.registration_id.to_string()));
        }
        prop_assert!(ids.iter().eq(seen.iter()));
    }
}
