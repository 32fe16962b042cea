//! `issue_batch`: order, repetition, refusals, what is written.

use batch_file::{BatchReader, ReadOptions, RowAuth};
use cert_tool::{
    CsrInput, Error, IssueOptions, IssueRequest, Issued, IssuedList, IssuedStore, KeySource, KeyType,
    LongNames, Outcome, PrivateKey, Refusal, Sink, create_csr, issue_batch,
};
use hub_types::Thumbprint;
use openssl::hash::MessageDigest;

use crate::support::{Factory, generate, id, now, openssl_certificate, record};

#[test]
fn thousands_come_in_order_and_each_has_its_own_key() {
    let factory = Factory::new();
    let names: Vec<_> = (0..3000).map(|n| format!("device{n}")).collect();
    let (summary, told) = factory.issue(Sink::Bundle, names.iter().map(|name| generate(name)).collect());
    assert_eq!(summary.issued, 3000);
    assert!(told.iter().map(|issued| issued.identity.to_string()).eq(names));
    for issued in told.iter().step_by(97) {
        let certificate = openssl_certificate(record(issued));
        let digest = certificate.digest(MessageDigest::sha256()).unwrap();
        assert_eq!(digest.as_ref(), record(issued).sha256.as_bytes());
        assert_eq!(
            certificate.digest(MessageDigest::sha1()).unwrap().as_ref(),
            record(issued).sha1.as_bytes()
        );
        let serial = certificate.serial_number().to_bn().unwrap().to_hex_str().unwrap().to_string();
        assert_eq!(serial, record(issued).serial);
    }
}

#[test]
fn the_list_is_a_batch_without_problems() {
    let factory = Factory::new();
    let names =
        ["device01", "device01/module01", "a,b", "=1+1", "@x", "'q", "#hash", "1E5", "d;e", "%2e%2e", "-rf"];
    let (_, told) = factory.issue(Sink::Bundle, names.iter().map(|name| generate(name)).collect());
    let reader = BatchReader::open(factory.path("out/issued.csv"), &ReadOptions::default()).unwrap();
    let batch = reader.read_all();
    assert!(batch.file_problems.is_empty(), "{:?}", batch.file_problems);
    assert!(batch.bad_rows.is_empty(), "{:?}", batch.bad_rows);
    for (row, issued) in batch.rows.iter().zip(&told) {
        // Some of these ids are legal but unwise, which is no fault of the list.
        assert!(row.warnings.iter().all(|warning| warning.column.as_deref() == Some("device_id")));
        assert_eq!(row.identity, issued.identity);
        let primary = Some(Thumbprint::from(record(issued).sha256));
        assert_eq!(row.auth, RowAuth::X509Thumbprint { primary, secondary: None });
        let certificate = cert_tool::read_certificate(row.certificate.as_ref().unwrap()).unwrap();
        assert_eq!(certificate.common_name(), Some(row.identity.common_name().as_str()));
        assert_eq!(certificate.sha256(), record(issued).sha256);
    }
    assert_eq!(batch.rows.len(), names.len());
}

#[test]
fn what_is_there_stays_and_pages_add_to_it() {
    let factory = Factory::new();
    let mut store = IssuedStore::open(&factory.ca, &factory.out(), Sink::Bundle).unwrap();
    let options = IssueOptions::new(now());
    let mut told = Vec::new();
    for page in [["a", "b"], ["b", "c"], ["c", "c"]] {
        let requests = page.iter().map(|name| generate(name));
        let mut tell = |issued: &Issued| told.push((issued.identity.to_string(), record(issued).sha256));
        issue_batch(&factory.ca, &options, requests, &mut store, &mut tell).unwrap();
    }
    let [a, b, b2, c, c2, c3] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((b, c, c), (b2, c2, c3));
    assert_eq!(store.find(&id("a")).unwrap().unwrap().sha256, a.1);
    assert_eq!(store.find(&id("A")).unwrap(), None);
    // Another process may look while this one writes, but not write too.
    assert!(matches!(
        IssuedStore::open(&factory.ca, &factory.out(), Sink::Bundle),
        Err(Error::Locked { .. })
    ));
    let reader = IssuedList::open(&factory.out()).unwrap();
    assert_eq!(reader.find(&id("c")).unwrap().unwrap().sha256, c.1);
}

#[test]
fn folders_have_what_a_device_needs() {
    let factory = Factory::new();
    let hostile = ["..", "CON", "-rf", "a:b", "*", "%2e%2e", "Dev1", "dev1", "Dev1/..", "dev1/cert.pem"];
    let (summary, told) = factory.issue(Sink::Folder, hostile.iter().map(|name| generate(name)).collect());
    assert_eq!(summary.issued, hostile.len() as u64);
    for issued in &told {
        let record = record(issued);
        openssl_certificate(record);
        factory.assert_openssl_accepts(&record.certificate);
        let chain = std::fs::read(record.certificate.with_file_name("chain.pem")).unwrap();
        assert_eq!(openssl::x509::X509::stack_from_pem(&chain).unwrap().len(), 2);
    }
    let (summary, _) = factory.issue(Sink::Folder, hostile.iter().map(|name| generate(name)).collect());
    assert_eq!(summary.already_there, hostile.len() as u64);
    assert!(matches!(
        IssuedStore::open(&factory.ca, &factory.out(), Sink::Bundle),
        Err(Error::OtherSink { .. })
    ));
}

#[test]
fn a_folder_with_something_else_in_it_is_left_alone() {
    let factory = Factory::new();
    std::fs::create_dir_all(factory.path("out/devices/a")).unwrap();
    std::fs::write(factory.path("out/devices/a/notes.txt"), "mine").unwrap();
    let refusals = refusals(&factory, Sink::Folder, vec![generate("a"), generate("b")]);
    assert!(matches!(refusals.as_slice(), [Some(Refusal::FolderOccupied { .. }), None]), "{refusals:?}");
}

#[test]
fn requests_are_signed_for_their_own_identity_and_key_only() {
    let factory = Factory::new();
    let key = PrivateKey::generate(KeyType::P256).unwrap();
    let other_key = PrivateKey::generate(KeyType::P384).unwrap();
    let csr = |name: &str, key: &PrivateKey| CsrInput::Pem(create_csr(&id(name), key).unwrap());
    let request = |name: &str, csr| IssueRequest::new(id(name), KeySource::Csr(csr));
    let found = refusals(
        &factory,
        Sink::Bundle,
        vec![
            request("a", csr("a", &key)),
            request("b", csr("a", &other_key)),
            request("b", csr("b", &key)),
            request("b", csr("b", &other_key)),
            request("a", csr("a", &key)),
            request("a", csr("a", &other_key)),
            request("c", CsrInput::Pem("nothing".to_owned())),
            generate("d"),
        ],
    );
    assert!(
        matches!(
            found.as_slice(),
            [
                None,
                Some(Refusal::OtherIdentity { .. }),
                Some(Refusal::KeyOfAnother { .. } | Refusal::Repeated),
                Some(Refusal::Repeated),
                None,
                Some(Refusal::AlreadyIssued),
                Some(Refusal::BadCsr(_)),
                None,
            ]
        ),
        "{found:?}"
    );
    // A key is remembered from one run to the next.
    let found = refusals(
        &factory,
        Sink::Bundle,
        vec![request("e", csr("e", &key)), request("b", csr("b", &other_key))],
    );
    assert!(matches!(found.as_slice(), [Some(Refusal::KeyOfAnother { .. }), None]), "{found:?}");
}

#[test]
fn a_long_common_name_must_be_asked_for() {
    let factory = Factory::new();
    let long = "d".repeat(65);
    let found = refusals(&factory, Sink::Bundle, vec![generate(&long), generate(&long[1..])]);
    assert!(matches!(found.as_slice(), [Some(Refusal::CommonNameTooLong { length: 65 }), None]), "{found:?}");
    let options = IssueOptions { long_names: LongNames::Allow, ..IssueOptions::new(now()) };
    let (summary, _) = factory.issue_as(Sink::Bundle, &options, vec![generate(&long)]);
    assert_eq!(summary.issued, 1);
}

#[test]
fn one_store_is_for_one_ca() {
    let factory = Factory::new();
    factory.issue(Sink::Bundle, vec![generate("a")]);
    let other = Factory::new();
    let mut store = IssuedStore::open(&factory.ca, &factory.out(), Sink::Bundle).unwrap();
    let issued = issue_batch(
        &other.ca,
        &IssueOptions::new(now()),
        [generate("b")].into_iter(),
        &mut store,
        &mut |_| {},
    );
    assert!(matches!(issued, Err(Error::OtherCa { .. })), "{issued:?}");
}

#[test]
#[cfg(unix)]
fn nothing_written_is_for_others() {
    use std::os::unix::fs::PermissionsExt;

    for sink in [Sink::Bundle, Sink::Folder] {
        let factory = Factory::new();
        factory.issue(sink, vec![generate("a"), generate("a/b")]);
        let mut folders = vec![factory.out()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
                assert_eq!(mode & 0o077, 0, "{}", entry.path().to_string_lossy());
                if entry.metadata().unwrap().is_dir() {
                    folders.push(entry.path());
                }
            }
        }
    }
}

fn refusals(factory: &Factory, sink: Sink, requests: Vec<IssueRequest>) -> Vec<Option<Refusal>> {
    let mut store = IssuedStore::open(&factory.ca, &factory.out(), sink).unwrap();
    let mut told = Vec::new();
    let mut tell = |issued: &Issued| {
        // A refusal can't be cloned; what it says is enough, and its variant is asked for here.
        told.push(match &issued.outcome {
            Outcome::Refused(refusal) => Some(clone(refusal)),
            _ => None,
        });
    };
    issue_batch(&factory.ca, &IssueOptions::new(now()), requests.into_iter(), &mut store, &mut tell).unwrap();
    told
}

fn clone(refusal: &Refusal) -> Refusal {
    match refusal {
        Refusal::AlreadyIssued => Refusal::AlreadyIssued,
        Refusal::BadCsr(error) => {
            Refusal::BadCsr(Box::new(Error::OtherCa { path: error.to_string().into() }))
        }
        Refusal::CommonNameTooLong { length } => Refusal::CommonNameTooLong { length: *length },
        Refusal::FolderOccupied { path } => Refusal::FolderOccupied { path: path.clone() },
        Refusal::KeyOfAnother { other } => Refusal::KeyOfAnother { other: other.clone() },
        Refusal::OtherIdentity { found } => Refusal::OtherIdentity { found: found.clone() },
        Refusal::Repeated => Refusal::Repeated,
        other => panic!("{other}"),
    }
}
