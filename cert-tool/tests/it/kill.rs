//! A kill at any moment is harmless: whatever is left of the files, issuing again gives every
//! identity exactly one certificate, and a key that fits.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};

use cert_tool::{
    Certificate, CertificateAuthority, Error, IssuanceIndex, IssuedStore, Lookup, Sink, Tier,
    read_certificate,
};
use proptest::prelude::*;

use crate::support::{Factory, Shop, generate, openssl_certificate, record};

/// Damage that no kill can cause is not repaired: certificates that may be in use would be lost.
#[test]
fn a_file_that_was_taken_away_is_missed_and_nothing_is_dropped() {
    for name in ["issued.csv", "certificates.pem", "private-keys.pem"] {
        let factory = Factory::new();
        factory.issue(Sink::Bundle, vec![generate("a"), generate("b")]);
        let path = factory.path("out").join(name);
        let kept = path.with_extension("kept");
        std::fs::rename(&path, &kept).unwrap();
        let opened = IssuedStore::open(&factory.ca, &factory.out(), Sink::Bundle);
        assert!(matches!(opened, Err(Error::Damaged { .. })), "{name}");
        std::fs::rename(kept, &path).unwrap();
        let (summary, told) = factory.issue(Sink::Bundle, vec![generate("a"), generate("b")]);
        assert_eq!(summary.already_there, 2, "{name}");
        told.iter().for_each(|issued| drop(openssl_certificate(record(issued))));
    }
}

#[test]
fn a_list_that_goes_on_where_the_index_ends_is_left_alone() {
    let factory = Factory::new();
    factory.issue(Sink::Bundle, vec![generate("a")]);
    let index = std::fs::read(factory.path("ca/index.db")).unwrap();
    factory.issue(Sink::Bundle, vec![generate("b")]);
    let list = std::fs::read(factory.path("out/issued.csv")).unwrap();
    std::fs::write(factory.path("ca/index.db"), index).unwrap();
    let opened = IssuedStore::open(&factory.ca, &factory.out(), Sink::Bundle);
    assert!(matches!(opened, Err(Error::Damaged { .. })));
    assert_eq!(std::fs::read(factory.path("out/issued.csv")).unwrap(), list);
    // And an index that knows nothing of the folder does not begin it anew.
    for file in ["index.db", "index.db-wal", "index.db-shm"] {
        let _ = std::fs::remove_file(factory.path("ca").join(file));
    }
    let opened = IssuedStore::open(&factory.ca, &factory.out(), Sink::Bundle);
    assert!(matches!(opened, Err(Error::NotIndexed { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The index is written first, then the bytes, then the rows: a kill leaves some of the bytes and
    /// no row, or all of the bytes and some of the rows.
    #[test]
    fn issuing_again_after_a_kill_gives_each_identity_one_certificate(
        sink in prop_oneof![Just(Sink::Bundle), Just(Sink::Csv), Just(Sink::Tar), Just(Sink::Sqlite)],
        has_rows: bool,
        cuts in proptest::array::uniform2(0.0..=1.0),
        first in 0_usize..6,
        second in 1_usize..12,
        all in 20_usize..30,
    ) {
        let factory = Factory::new();
        let requests = |count| (0..count).map(|n| generate(&format!("device{n}"))).collect::<Vec<_>>();
        let lengths = || files(sink).map(|name| {
            factory.out().join(name).metadata().map_or(0, |metadata| metadata.len())
        });
        let (_, certain) = factory.issue(sink, requests(first));
        let before = lengths();
        factory.issue(sink, requests(first + second));
        let after = lengths();
        forget_release(&factory.path("ca/index.db"), first);
        for (n, name) in files(sink).into_iter().enumerate() {
            let is_list = name == "issued.csv";
            if is_list == has_rows {
                cut(&factory.out().join(name), before[n], after[n], cuts[n % 2]);
            } else if is_list {
                cut(&factory.out().join(name), before[n], after[n], 0.0);
            }
        }
        let store = IssuedStore::open(&factory.ca, &factory.out(), sink).unwrap();
        let lost = store.dropped_rows();
        prop_assert!(has_rows || lost == second as u64);
        // What is in this folder is in no different one.
        for request in requests(first + second) {
            prop_assert_eq!(store.folder_elsewhere(&request.identity).unwrap(), None);
        }
        drop(store);
        let (summary, told) = factory.issue(sink, requests(all));
        let kept = (first + second) as u64 - lost;
        prop_assert_eq!((summary.already_there, summary.issued), (kept, all as u64 - kept));
        // What was certain stayed.
        for (before, after) in certain.iter().zip(&told) {
            prop_assert_eq!(record(before), record(after));
        }
        let mut serials = HashSet::new();
        for issued in &told {
            openssl_certificate(record(issued));
            serials.insert(record(issued).serial.clone());
        }
        prop_assert_eq!(serials.len(), all);
        assert_agree(&factory, all);
        // The bundles hold what the list says, and nothing else.
        if sink == Sink::Bundle {
            let count = |name: &str| {
                std::fs::read_to_string(factory.out().join(name)).unwrap().matches("-----BEGIN").count()
            };
            prop_assert_eq!((count("certificates.pem"), count("private-keys.pem")), (all, all));
        }
    }
}

/// Kills the binary again and again while it issues to a bundle, and looks at everything it leaves.
/// `CERT_TOOL_KILLS` is how often, `CERT_TOOL_KILL_DEVICES` how many devices there are.
#[test]
fn a_run_that_is_killed_again_and_again_ends_as_if_nothing_had_happened() {
    let setting = |name, default| std::env::var(name).ok().map_or(default, |text| text.parse().unwrap());
    let kills: usize = setting("CERT_TOOL_KILLS", 3);
    let devices: usize = setting("CERT_TOOL_KILL_DEVICES", 6000);
    let shop = Shop::new();
    let command = format!("issue --ca ca --count {devices} --pattern pump-{{:06}} --out out --threads 2");
    let list = shop.path("out/issued.csv");
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| watch_modes(&shop, &is_over));
        for kill in 0..kills {
            // Moments all over the run, told by how far the list has come.
            let row_bytes = 400;
            let target = (devices * row_bytes * (kill * 37 % 100) / 100) as u64;
            let mut run = shop.start(&command);
            let reached = |path: &Path| path.metadata().is_ok_and(|metadata| metadata.len() > target);
            while !reached(&list) && !has_ended(&mut run) {
                std::hint::spin_loop();
            }
            let _ = run.kill();
            run.wait().unwrap();
        }
        shop.ok(&command);
        is_over.store(true, Ordering::Relaxed);
        assert!(watch.join().unwrap() > 0, "nobody watched");
    });
    let again = shop.ok(&command);
    assert!(again.starts_with(&format!("0 issued, {devices} already there")), "{again}");
    assert_agree(&shop.factory, devices);
    let mut keys = HashSet::new();
    let index = IssuanceIndex::open_beside(&shop.path("ca")).unwrap();
    let (certificates, privates) = (read(&shop, "certificates.pem"), read(&shop, "private-keys.pem"));
    index
        .visit(&Lookup::All, |entry| {
            keys.insert(entry.key);
            let block = |text: &'_ str, path: &Path| {
                let at: usize = path.to_str().unwrap().rsplit_once('#').unwrap().1.parse().unwrap();
                let end = at + text[at..].find("-----END").unwrap();
                text[at..end + text[end..].find('\n').unwrap()].to_owned()
            };
            let certificate = block(&certificates, &entry.record.certificate);
            let certificate = openssl::x509::X509::from_pem(certificate.as_bytes()).unwrap();
            let key = block(&privates, entry.record.private_key.as_ref().unwrap());
            let key = openssl::pkey::PKey::private_key_from_pem(key.as_bytes()).unwrap();
            assert!(certificate.public_key().unwrap().public_eq(&key), "{}", entry.identity);
            Ok(())
        })
        .unwrap();
    assert_eq!(keys.len(), devices);
    assert_eq!(certificates.matches("-----BEGIN").count(), devices);
    assert_eq!(privates.matches("-----BEGIN").count(), devices);
}

/// Kills `bundle` while it makes folders and tar files: what is there under the name of a bundle is whole.
#[test]
fn bundles_are_whole_whenever_their_maker_is_killed() {
    const DEVICES: usize = 300;
    let shop = Shop::new();
    shop.ok(&format!("issue --ca ca --count {DEVICES} --pattern pump-{{:03}} --out out"));
    for (form, ending) in [("", ""), (" --tar", ".tar")] {
        let folder = format!("bundles{ending}");
        let command = format!("bundle out --all --hub plant7.azure-devices.net --ca ca --out {folder}{form}");
        for kill in 0..3 {
            let mut run = shop.start(&command);
            while bundles(&shop, &folder).len() <= DEVICES * kill / 4 && !has_ended(&mut run) {
                std::hint::spin_loop();
            }
            let _ = run.kill();
            run.wait().unwrap();
            for bundle in bundles(&shop, &folder) {
                assert_is_whole(&bundle);
            }
        }
        shop.ok(&command);
        assert_eq!(bundles(&shop, &folder).len(), DEVICES);
        bundles(&shop, &folder).iter().for_each(|bundle| assert_is_whole(bundle));
        let left: Vec<_> =
            names(&shop.path(&folder).join("devices")).filter(|name| name.starts_with('.')).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// A new key for a CA, killed at each of its renames: the same command makes it again or completes it.
#[test]
fn a_new_key_that_was_cut_off_is_made_again_or_gone_on_with() {
    let shop = Shop::new();
    let untouched = signed(&shop.path("ca"));
    copy_files(&shop.path("ca"), &names(&shop.path("ca")).collect::<Vec<_>>(), &shop.path("before"));
    shop.ok("ca rekey ca new");
    let made: Vec<_> = names(&shop.path("new")).collect();
    assert!(made.iter().all(|name| !name.starts_with('.')), "{made:?}");
    // Killed while the files were being moved to their places: after none, after each, after all of them.
    for moved in 0..=made.len() {
        let [cut, old] = ["cut", "old"].map(|name| format!("{name}-{moved}"));
        copy_files(&shop.path("before"), &names(&shop.path("before")).collect::<Vec<_>>(), &shop.path(&old));
        let (there, rest) = made.split_at(moved);
        copy_files(&shop.path("new"), there, &shop.path(&cut));
        copy_files(&shop.path("new"), rest, &shop.path(&cut).join(".ready"));
        shop.ok(&format!("ca rekey {old} {cut}"));
        CertificateAuthority::open(&shop.path(&cut)).unwrap();
        let cross = read_certificate(&shop.path(&cut).join("new-by-old.pem")).unwrap();
        assert_eq!(signed(&shop.path(&old)), [untouched.as_slice(), &[cross]].concat());
        assert!(shop.fails(3, &format!("ca rekey {old} {cut}")).contains("already there"));
    }
    // Killed before it was whole: the keys that are there are nobody's, and the same command makes others.
    let keys = ["root.key".to_owned(), "issuing.key".to_owned()];
    copy_files(&shop.path("new"), &[], &shop.path("cut"));
    copy_files(&shop.path("new"), &keys, &shop.path("cut").join(".new"));
    shop.ok("ca rekey before cut");
    assert!(names(&shop.path("cut")).all(|name| !name.starts_with('.')));
    let key = |ca: &str| std::fs::read(shop.path(ca).join("root.key")).unwrap();
    assert_ne!(key("cut"), key("new"));
    assert_eq!(signed(&shop.path("before")).len(), untouched.len() + 1);
    assert!(names(&shop.path("")).all(|name| !name.starts_with('.')));
}

/// The certificates of CAs in the books of a root.
fn signed(ca: &Path) -> Vec<Certificate> {
    let index = IssuanceIndex::open_books(ca, Tier::Root).unwrap();
    index.subordinates(&Lookup::All).unwrap().into_iter().map(|one| one.certificate).collect()
}

fn copy_files(from: &Path, names: &[String], to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    std::fs::set_permissions(to, std::fs::Permissions::from_mode(0o700)).unwrap();
    for name in names {
        std::fs::copy(from.join(name), to.join(name)).unwrap();
    }
}

/// The bundles in a folder; what is being made has a name that begins with a dot.
fn bundles(shop: &Shop, folder: &str) -> Vec<PathBuf> {
    let folder = shop.path(folder).join("devices");
    names(&folder).filter(|name| !name.starts_with('.')).map(|name| folder.join(name)).collect()
}

fn names(folder: &Path) -> impl Iterator<Item = String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap())
}

fn assert_is_whole(bundle: &Path) {
    let mut files: Vec<String> = if bundle.is_dir() {
        names(bundle).inspect(|name| assert!(bundle.join(name).metadata().unwrap().len() > 0)).collect()
    } else {
        let mut archive = tar::Archive::new(std::fs::File::open(bundle).unwrap());
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            std::io::copy(&mut entry, &mut std::io::sink()).unwrap();
            entry.path().unwrap().file_name().unwrap().to_str().unwrap().to_owned()
        });
        entries.filter(|name| name.contains('.')).collect()
    };
    files.sort();
    assert_eq!(
        files,
        ["cert.pem", "chain.pem", "connection.json", "key.pem", "root.pem"],
        "{}",
        bundle.to_string_lossy()
    );
}

fn read(shop: &Shop, name: &str) -> String {
    std::fs::read_to_string(shop.path("out").join(name)).unwrap()
}

fn has_ended(run: &mut Child) -> bool {
    run.try_wait().unwrap().is_some()
}

/// Looks at the modes of all files as long as others write them, and counts how often.
fn watch_modes(shop: &Shop, is_over: &AtomicBool) -> usize {
    let mut rounds = 0;
    while !is_over.load(Ordering::Relaxed) {
        for folder in ["ca", "out"] {
            let entries = std::fs::read_dir(shop.path(folder)).into_iter().flatten().flatten();
            // Files come and go meanwhile.
            for (entry, metadata) in entries.filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)))
            {
                let mode = metadata.permissions().mode() & 0o777;
                assert_eq!(mode & 0o177, 0, "{} has {mode:o}", entry.to_string_lossy());
            }
        }
        rounds += 1;
        std::thread::yield_now();
    }
    rounds
}

/// The index and the list have the same certificates, each identity and serial once.
fn assert_agree(factory: &Factory, count: usize) {
    let list = std::fs::read_to_string(factory.path("out/issued.csv")).unwrap();
    let listed: HashSet<(String, String)> = list
        .lines()
        .skip(1)
        .map(|line| {
            let cells: Vec<_> = line.split(',').collect();
            (cells[0].to_owned(), cells[5].to_owned())
        })
        .collect();
    assert_eq!(list.lines().count(), count + 1);
    let mut indexed = HashSet::new();
    let index = IssuanceIndex::open_beside(&factory.path("ca")).unwrap();
    index
        .visit(&Lookup::All, |entry| {
            indexed.insert((entry.identity.to_string(), entry.record.serial));
            Ok(())
        })
        .unwrap();
    assert_eq!(indexed.len(), count);
    assert_eq!(listed, indexed);
    let names: HashSet<_> = indexed.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), count);
}

fn files(sink: Sink) -> [&'static str; 3] {
    match sink {
        Sink::Csv => ["pem.csv", "pem.csv", "issued.csv"],
        Sink::Tar => ["certificates.tar", "certificates.tar", "issued.csv"],
        // A transaction is there as a whole or not at all.
        Sink::Sqlite => ["none", "none", "issued.csv"],
        _ => ["certificates.pem", "private-keys.pem", "issued.csv"],
    }
}

fn cut(path: &Path, from: u64, to: u64, fraction: f64) {
    if let Ok(file) = OpenOptions::new().write(true).open(path) {
        let length = from + ((to - from) as f64 * fraction) as u64;
        if file.metadata().unwrap().len() > length {
            file.set_len(length).unwrap();
        }
    }
}

/// Makes everything after the first certificates pending, as it is while it is written.
fn forget_release(index: &Path, first: usize) {
    let connection = rusqlite::Connection::open(index).unwrap();
    connection.execute("UPDATE outputs SET released = ?1", [first as i64]).unwrap();
}
