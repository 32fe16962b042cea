//! The forms in which certificates are written, judged by the programs that people read them with.

use std::process::Command;

use crate::support::Shop;

#[test]
fn every_form_has_the_same_in_it() {
    for (sink, file) in [
        ("bundle", "certificates.pem"),
        ("csv", "pem.csv"),
        ("tar", "certificates.tar"),
        ("sqlite", "certificates.db"),
        ("folder", "devices"),
    ] {
        let shop = Shop::new();
        shop.write("batch.csv", "device_id,module_id\n\"a,b\",\nDev1,\ndev1,\ndev1,m\n");
        shop.ok(&format!("issue --ca ca --from batch.csv --out out --sink {sink} --chain"));
        let again = shop.ok(&format!("issue --ca ca --from batch.csv --out out --sink {sink} --chain"));
        assert!(again.starts_with("0 issued, 4 already there"), "{sink}: {again}");
        assert!(shop.path("out").join(file).exists(), "{sink}");
        for (n, device) in ["a,b", "Dev1", "dev1"].iter().enumerate() {
            shop.ok(&format!("extract out --device-id {device} --out {n}"));
            let key = shop.openssl(&format!("pkey -in {n}/key.pem -pubout"));
            assert_eq!(key, shop.openssl(&format!("x509 -in {n}/cert.pem -noout -pubkey")), "{sink}");
            let subject = shop.openssl(&format!("x509 -in {n}/cert.pem -noout -subject -nameopt RFC2253"));
            assert_eq!(subject.trim(), format!("subject=CN={}", device.replace(',', "\\,")), "{sink}");
        }
        let other = if sink == "bundle" { "tar" } else { "bundle" };
        assert!(
            shop.fails(3, &format!("issue --ca ca --device-id x --out out --sink {other}")).contains(sink)
        );
    }
}

/// So many that they are written by several threads and synced together.
#[test]
fn many_folders_are_whole_and_private_and_what_a_kill_tore_is_written_again() {
    let shop = Shop::new();
    let torn = shop.path("out/devices/d150");
    std::fs::create_dir_all(&torn).unwrap();
    std::fs::write(torn.join("key.pem"), "-----BEGIN PRIV").unwrap();
    let command = "issue --ca ca --count 200 --pattern d{} --out out --sink folder";
    assert!(shop.ok(command).starts_with("200 issued"));
    for n in 1..=200 {
        let folder = shop.path(&format!("out/devices/d{n}"));
        let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
        let certificate = openssl::x509::X509::from_pem(&read("cert.pem")).unwrap();
        let key = openssl::pkey::PKey::private_key_from_pem(&read("key.pem")).unwrap();
        assert!(certificate.public_key().unwrap().public_eq(&key), "d{n}");
        assert_eq!(openssl::x509::X509::stack_from_pem(&read("chain.pem")).unwrap().len(), 2);
        #[cfg(unix)]
        for name in ["cert.pem", "chain.pem", "key.pem"] {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(folder.join(name).metadata().unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        }
    }
    assert_eq!(std::fs::read_dir(shop.path("out/devices")).unwrap().count(), 200);
    assert!(shop.ok(command).starts_with("0 issued, 200 already there"));
}

#[test]
fn tar_unpacks_an_archive_that_was_added_to() {
    let shop = Shop::new();
    shop.ok("issue --ca ca --count 3 --pattern d{} --out out --sink tar --chain");
    let long = "x".repeat(128);
    shop.ok(&format!("issue --ca ca --device-id {long} --out out --sink tar --chain --allow-long-cn"));
    shop.ok("issue --ca ca --count 5 --pattern d{} --out out --sink tar --chain");
    std::fs::create_dir(shop.path("unpacked")).unwrap();
    let tar = Command::new("tar")
        .args(["-xf", "out/certificates.tar", "-C", "unpacked"])
        .current_dir(shop.factory.folder.path())
        .output()
        .unwrap();
    assert!(tar.status.success() && tar.stderr.is_empty(), "{}", String::from_utf8_lossy(&tar.stderr));
    for name in ["d1", "d5", &long] {
        let certificate = shop.path(&format!("unpacked/devices/{name}/cert.pem"));
        shop.factory.assert_openssl_accepts(&certificate);
        assert!(certificate.with_file_name("key.pem").exists());
        let chain = std::fs::read(certificate.with_file_name("chain.pem")).unwrap();
        assert_eq!(openssl::x509::X509::stack_from_pem(&chain).unwrap().len(), 2);
    }
}

#[test]
fn a_chain_stands_behind_each_certificate_when_asked_for() {
    let count = |shop: &Shop| {
        std::fs::read_to_string(shop.path("out/certificates.pem")).unwrap().matches("BEGIN").count()
    };
    let shop = Shop::new();
    shop.ok("issue --ca ca --count 3 --pattern d{} --out out");
    assert_eq!(count(&shop), 3);
    let shop = Shop::new();
    shop.ok("issue --ca ca --count 3 --pattern d{} --out out --chain");
    assert_eq!(count(&shop), 6);
}

#[test]
fn openssl_opens_the_pfx() {
    let shop = Shop::new();
    shop.ok("issue --ca ca --count 1 --pattern d{} --out out");
    shop.write_secret("password", "correct horse\n");
    for style in ["", " --legacy"] {
        let _ = std::fs::remove_file(shop.path("d1.pfx"));
        shop.ok(&format!("pfx out --device-id d1 --out d1.pfx --password-file password{style}"));
        assert!(
            shop.fails(3, &format!("pfx out --device-id d1 --out d1.pfx --password-file password{style}"))
                .contains("already")
        );
        let flag = if style.is_empty() { "" } else { " -legacy" };
        let opened = shop.openssl(&format!("pkcs12 -in d1.pfx -passin file:password -nodes{flag}"));
        assert_eq!(opened.matches("BEGIN CERTIFICATE").count(), 2);
        std::fs::write(shop.path("opened.pem"), opened).unwrap();
        let key = shop.openssl("pkey -in opened.pem -pubout");
        assert_eq!(key, shop.openssl("x509 -in opened.pem -noout -pubkey"));
    }
    shop.fails(2, "pfx out --device-id nobody --out x.pfx --password-file password");
}

#[test]
fn what_will_take_long_is_said_before() {
    let shop = Shop::new();
    let warned = |words: &str| shop.run(words).err;

    assert!(!warned("issue --ca ca --count 3 --pattern a{} --out a --sink folder").contains("warning"));
    shop.fails(2, "issue --ca ca --count 3 --pattern a --out b");
    shop.fails(2, "issue --ca ca --count 0 --pattern a{} --out b");
}

/// A device sends what stands in `chain.pem`, and who trusts only the root must find its way from there.
#[test]
fn all_certificates_between_the_root_and_the_device_are_handed_on() {
    let shop = Shop::new();
    shop.write("ca.cnf", "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n");
    shop.openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout root.key -subj /CN=Root -days 90 -out root.pem -addext keyUsage=critical,keyCertSign");
    let mut above = "root".to_owned();
    for name in ["region", "plant", "line"] {
        shop.openssl(&format!("req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -subj /CN={name} -out {name}.csr"));
        shop.openssl(&format!("x509 -req -in {name}.csr -CA {above}.pem -CAkey {above}.key -days 60 -extfile ca.cnf -out {name}.pem"));
        above = name.to_owned();
    }
    let between = ["plant.pem", "region.pem"].map(|file| std::fs::read_to_string(shop.path(file)).unwrap());
    shop.write("between.pem", &between.concat());
    shop.ok("ca import imported --certificate line.pem --chain between.pem --key line.key");
    let subjects = |pem: &[u8]| -> Vec<String> {
        let stack = openssl::x509::X509::stack_from_pem(pem).unwrap();
        let name = |one: &openssl::x509::X509| {
            let entry = one.subject_name().entries().last().unwrap();
            String::from_utf8_lossy(entry.data().as_slice()).into_owned()
        };
        stack.iter().map(name).collect()
    };
    for (sink, ids) in [("bundle", "a"), ("csv", "b"), ("tar", "c"), ("sqlite", "d"), ("folder", "e")] {
        shop.ok(&format!("issue --ca imported --device-id {ids} --out {sink} --sink {sink} --chain"));
        // A second time: the folder is known as the same CA's.
        shop.ok(&format!("issue --ca imported --device-id {ids}2 --out {sink} --sink {sink} --chain"));
        shop.ok(&format!("extract {sink} --device-id {ids} --out {sink}-{ids}"));
        let chain = std::fs::read(shop.path(&format!("{sink}-{ids}/chain.pem"))).unwrap();
        assert_eq!(subjects(&chain), [ids, "line", "plant", "region"], "{sink}");
        shop.openssl(&format!(
            "verify -x509_strict -purpose sslclient -CAfile root.pem -untrusted {sink}-{ids}/chain.pem {sink}-{ids}/cert.pem"
        ));
    }
    let folder = std::fs::read(shop.path("folder/devices/e/chain.pem")).unwrap();
    assert_eq!(subjects(&folder), ["e", "line", "plant", "region"]);
    let bundle = std::fs::read(shop.path("bundle/certificates.pem")).unwrap();
    assert_eq!(subjects(&bundle), ["a", "line", "plant", "region", "a2", "line", "plant", "region"]);
    shop.write_secret("password", "correct horse");
    shop.ok("pfx folder --device-id e --out e.pfx --password-file password");
    let shown = shop.openssl("pkcs12 -in e.pfx -nokeys -passin file:password");
    assert_eq!(shown.matches("BEGIN CERTIFICATE").count(), 4, "{shown}");
}

#[test]
fn pfx_files_are_made_for_all_and_only_once() {
    let shop = Shop::new();
    shop.ok("csr --device-id keyless --key-out k.pem --out k.csr");
    shop.write("batch.csv", "device_id,module_id,csr\nDev1,,\ndev1,,\n-rf,,\ndev1,m:1,\nkeyless,,k.csr\n");
    shop.ok("issue --ca ca --from batch.csv --out out");
    shop.write_secret("password", "open sesame\n");
    let said = shop.run("pfx out --all --out pfx --password-file password");
    assert_eq!(
        (said.code, said.out.as_str()),
        (0, "4 PFX files made, 0 already there: pfx\n"),
        "{}",
        said.err
    );
    assert!(
        said.err.contains("1 certificate without a file: the keys are only on the devices"),
        "{}",
        said.err
    );
    for (file, subject) in [
        ("devices/_dev1.pfx", "Dev1"),
        ("devices/dev1.pfx", "dev1"),
        ("devices/_2drf.pfx", "-rf"),
        ("modules/dev1/m_3a1.pfx", "dev1/m:1"),
    ] {
        let opened = shop.openssl(&format!("pkcs12 -in pfx/{file} -passin file:password -nodes -clcerts"));
        assert!(opened.contains(&format!("subject=CN = {subject}\n")), "{file}: {opened}");
        assert!(opened.contains("-----BEGIN PRIVATE KEY-----"), "{file}");
    }
    // What is gone is made again, what is there stays.
    std::fs::remove_file(shop.path("pfx/devices/dev1.pfx")).unwrap();
    let before = std::fs::read(shop.path("pfx/devices/_dev1.pfx")).unwrap();
    let again = shop.ok("pfx out --from batch.csv --out pfx --password-file password --format json");
    assert_eq!(again.matches(r#""outcome":"exported""#).count(), 1, "{again}");
    assert_eq!(again.matches(r#""outcome":"already_there""#).count(), 3, "{again}");
    assert_eq!(std::fs::read(shop.path("pfx/devices/_dev1.pfx")).unwrap(), before);
    // Nobody gets an old certificate in the place of a renewed one.
    shop.ok("renew --ca ca --device-id dev1 --out renewed");
    let said = shop.fails(3, "pfx renewed --all --out pfx --password-file password");
    assert!(said.contains("`pfx` has PFX files for the certificates of a different folder"), "{said}");
    shop.write("stranger.csv", "device_id\nstranger\n");
    let said = shop.fails(1, "pfx out --from stranger.csv --out pfx --password-file password");
    assert!(said.contains("`stranger` has no certificate in `out`"), "{said}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;

        let mode = |name: &str| shop.path(name).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("pfx"), mode("pfx/devices"), mode("pfx/devices/dev1.pfx")), (0o700, 0o700, 0o600));
    }
}

#[test]
fn a_batch_may_be_issued_with_pfx_files() {
    let shop = Shop::new();
    let issue = "issue --ca ca --count 20 --pattern d{} --out out --pfx pfx --legacy";
    assert!(shop.fails(2, issue).contains("no password"));
    assert!(!shop.path("out").exists(), "nothing is issued without a password");
    for _ in 0..2 {
        let said = shop.run_with(issue, &[("CERT_TOOL_PASSWORD", "open sesame")]);
        assert_eq!(said.code, 0, "{}", said.err);
        assert_eq!(std::fs::read_dir(shop.path("pfx/devices")).unwrap().count(), 20);
    }
    shop.write_secret("password", "open sesame\n");
    let opened = shop.openssl("pkcs12 -in pfx/devices/d7.pfx -passin file:password -nodes -clcerts -legacy");
    assert!(opened.contains("subject=CN = d7\n"), "{opened}");
    assert!(shop.fails(2, "issue --ca ca --device-id x --out o --legacy").contains("--pfx"));
}

#[cfg(unix)]
#[test]
fn private_keys_go_into_no_link_and_no_file_that_others_can_read() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    let shop = Shop::new();
    shop.write("batch.csv", "device_id\na\nb\n");
    for (sink, file) in [
        ("bundle", "private-keys.pem"),
        ("sqlite", "private-keys.db"),
        ("tar", "certificates.tar"),
        ("csv", "pem.csv"),
    ] {
        let issue =
            |out: &str| shop.fails(3, &format!("issue --ca ca --from batch.csv --sink {sink} --out {out}"));
        let (readable, linked) = (format!("readable-{sink}"), format!("linked-{sink}"));
        for folder in [&readable, &linked] {
            std::fs::create_dir(shop.path(folder)).unwrap();
        }
        let planted = shop.path(&format!("{readable}/{file}"));
        std::fs::write(&planted, "").unwrap();
        std::fs::set_permissions(&planted, std::fs::Permissions::from_mode(0o644)).unwrap();
        let said = issue(&readable);
        assert!(said.contains(file) && said.contains("chmod 600"), "{sink}: {said}");
        assert_eq!(std::fs::metadata(&planted).unwrap().len(), 0, "{sink}");
        std::fs::write(shop.path("open.txt"), "").unwrap();
        symlink("../open.txt", shop.path(&format!("{linked}/{file}"))).unwrap();
        let said = issue(&linked);
        assert!(said.contains("a regular file only"), "{sink}: {said}");
        assert_eq!(std::fs::metadata(shop.path("open.txt")).unwrap().len(), 0, "{sink}");
    }
    assert_eq!(shop.ok("list --ca ca"), "", "nothing was issued");
}
