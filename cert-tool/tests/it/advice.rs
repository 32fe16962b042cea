//! Commands that `cert-tool` prints as advice: each is run as it was printed, with the names in capitals filled in.

use std::process::Command;

use crate::support::Shop;

/// The commands between backticks that have arguments.
fn commands(text: &str) -> Vec<String> {
    let quoted = text.split('`').skip(1).step_by(2);
    let is_command = |it: &&str| {
        ["cert-tool ", "openssl "].iter().any(|program| it.starts_with(program)) && it.contains('.')
    };
    quoted.filter(is_command).map(str::to_owned).collect()
}

/// Runs lines in a shell in which the names in capitals have values.
fn obey(shop: &Shop, lines: &[String], names: &[(&str, &str)]) {
    let binary = assert_cmd::cargo::cargo_bin!("cert-tool");
    let path = format!("{}:{}", binary.parent().unwrap().to_string_lossy(), std::env::var("PATH").unwrap());
    assert!(!lines.is_empty(), "there is a command in the advice");
    for line in lines {
        let line = names.iter().fold(line.clone(), |line, (name, value)| line.replace(name, value));
        let mut shell = Command::new("sh");
        let output =
            shell.args(["-ec", &line]).env("PATH", &path).current_dir(shop.path("")).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn a_request_for_a_ca_is_signed_and_imported_as_advised() {
    let shop = Shop::new();
    shop.ok("ca init root --root-only --name Root");
    for folder in ["plant", "plant 'two'"] {
        let said = shop.run_args(&["ca", "csr", folder, "--name", folder.trim_end_matches('\'')]);
        let advised = commands(&said.err);
        assert_eq!(advised.len(), 2, "{}", said.err);
        let waiting = shop.run_args(&["ca", "show", folder]);
        assert_eq!(
            commands(&waiting.err),
            [&["issuing.csr".to_owned()][..0], &advised].concat(),
            "{}",
            waiting.err
        );
        obey(&shop, &advised, &[("ROOT", "root"), ("NEW.pem", &format!("{}.pem", folder.len()))]);
        assert!(shop.run_args(&["ca", "show", folder]).out.contains("issuing"));
    }
}

#[test]
fn a_ca_whose_root_is_elsewhere_is_renewed_as_advised() {
    let shop = Shop::new();
    shop.ok("ca init root --root-only --name Root");
    let said = shop.run("ca csr plant --name Plant");
    obey(&shop, &commands(&said.err), &[("ROOT", "root"), ("NEW.pem", "first.pem")]);
    let said = shop.run("ca renew plant");
    assert_eq!(said.code, 0, "{}", said.err);
    obey(&shop, &commands(&said.err), &[("ROOT", "root"), ("NEW.pem", "second.pem")]);
    shop.ok("issue --ca plant --device-id a --out a");
}

#[test]
fn a_revocation_list_is_made_as_advised() {
    let shop = Shop::new();
    shop.ok("issue --ca ca --device-id a --out out");
    let said = shop.run("revoke --ca ca --device-id a --reason certificateHold");
    obey(&shop, &commands(&said.err), &[("NEW.crl", "one.crl")]);
    assert!(shop.run("verify out/devices/a/chain.pem --ca ca --crl one.crl").out.contains("is revoked"));
    let said = shop.run("revoke --ca ca --device-id a --release");
    obey(&shop, &commands(&said.err), &[("NEW.crl", "two.crl")]);
    shop.ok("ca init books --name Books");
    let said = shop.run_args(&["revoke", "--ca", "books", "--root", "--name", "Books Issuing CA"]);
    assert_eq!(said.code, 0, "{}", said.err);
    obey(&shop, &commands(&said.err), &[("NEW.crl", "root.crl")]);
    assert!(shop.path("root.crl").exists());
}

/// OpenSSL asks for both passphrases: here they are added.
#[test]
fn a_key_in_an_old_encryption_is_named_and_converted_as_advised() {
    let shop = Shop::new();
    shop.openssl("genrsa -traditional -aes128 -passout pass:x -out dek.pem 2048");
    let legacy = "-provider legacy -provider default";
    for (name, how, scheme) in [
        ("sha1.pem", "-v1 PBE-SHA1-3DES", "PBE"),
        ("md5 one.pem", "-v1 PBE-MD5-DES", "PBE"),
        ("prf.pem", "-v2 aes-128-cbc -v2prf hmacWithSHA512-256", "SHA-512/256"),
    ] {
        let words = format!("pkcs8 -topk8 {how} {legacy} -in dek.pem -passin pass:x -passout pass:x -out");
        let mut command = Command::new("openssl");
        command.args(words.split(' ')).arg(name).current_dir(shop.path(""));
        assert!(command.output().unwrap().status.success(), "{words}");
        check_key(&shop, name, scheme);
    }
    check_key(&shop, "dek.pem", "DEK-Info");
}

fn check_key(shop: &Shop, name: &str, scheme: &str) {
    let said = shop.run_args(&["show", name]);
    assert!(said.code == 0 && said.out.contains("kind: encrypted private key"), "{name}: {}", said.out);
    assert!(said.err.contains("is encrypted with") && said.err.contains(scheme), "{name}: {}", said.err);
    assert!(said.err.contains("not read here"), "{name}: {}", said.err);
    let advised = commands(&said.err).into_iter().filter(|line| line.contains("-topk8"));
    let filled: Vec<_> = advised
        .map(|line| format!("{line} -passin pass:x -passout pass:y -provider legacy -provider default"))
        .collect();
    obey(shop, &filled, &[]);
    shop.write_secret("y", "y\n");
    let said = shop.run_args(&["show", &format!("{name}.pkcs8.pem"), "--password-file", "y"]);
    assert!(
        said.out.contains("  private key\n") && said.out.contains("RSA 2048"),
        "{}{}",
        said.out,
        said.err
    );
}

#[cfg(unix)]
#[test]
fn modes_are_set_as_advised() {
    use std::os::unix::fs::PermissionsExt;

    let shop = Shop::new();
    let set = |name: &str, mode| {
        std::fs::set_permissions(shop.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let obey_hint = |err: &str| {
        let line = err.lines().find_map(|line| line.trim().strip_prefix("hint: ")).unwrap();
        obey(&shop, &[line.split(", or ").next().unwrap().to_owned()], &[]);
    };
    set("ca", 0o755);
    let said = shop.run("issue --ca ca --device-id a --out out");
    assert_eq!(said.code, 3, "{}", said.err);
    obey_hint(&said.err);
    std::fs::create_dir(shop.path("open one")).unwrap();
    set("open one", 0o777);
    let words = ["issue", "--ca", "ca", "--device-id", "a", "--out", "open one"];
    let said = shop.run_args(&words);
    assert_eq!(said.code, 3, "{}", said.err);
    assert!(said.err.contains("every user can replace files in `open one` (mode 0777"), "{}", said.err);
    assert_eq!(std::fs::read_dir(shop.path("open one")).unwrap().count(), 0, "nothing is written");
    obey_hint(&said.err);
    assert_eq!(shop.run_args(&words).code, 0);
    // In a folder as /tmp, only the owner of a file can replace it.
    std::fs::create_dir(shop.path("sticky")).unwrap();
    set("sticky", 0o1777);
    shop.ok("issue --ca ca --device-id b --out sticky");
}

/// Advice can be followed as it stands: a command in a message has its arguments.
#[test]
fn no_message_names_a_verb_alone() {
    let mut files = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut commands = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            // The texts of `--help` name verbs as such.
            let entries = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path());
            files
                .extend(entries.filter(|path| !path.ends_with("cli/args") && !path.ends_with("cli/args.rs")));
            continue;
        }
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for command in line.split('`').skip(1).step_by(2) {
                let Some(words) = command.strip_prefix("cert-tool ") else { continue };
                commands += 1;
                let verbs = if words.starts_with("ca ") { 2 } else { 1 };
                let count = words.split_whitespace().count();
                assert!(count > verbs, "{}: `{command}` has no arguments", path.to_string_lossy());
            }
        }
    }
    assert!(commands > 10, "{commands}");
}
