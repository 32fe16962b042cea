//! Profiles and subjects: what certificates say beyond an identity, by judges that nobody here wrote, and
//! everything that is refused.

use crate::support::{Shop, now};

const GATEWAY: &str = r#"[gateway]
subject = "C=DE,O=Acme,OU=Plant 7,serialNumber={{ x_serial }}"
extended_key_usages = ["clientAuth", "serverAuth"]
days = 90
crl_distribution_points = ["http://pki.acme.example/issuing.crl"]
ca_issuers = ["http://pki.acme.example/issuing.crt"]

[gateway.san]
dns = ["{{ device_id }}.plant7.acme.example", "{{ x_host | lower }}"]
uri = ["urn:acme:{{ device_id }}"]
ip = ["{{ x_ip }}"]

[[gateway.extensions]]
oid = "1.3.6.1.4.1.55555.1"
utf8 = "line {{ x_line }}"

[[gateway.extensions]]
oid = "1.3.6.1.4.1.55555.2"
octets = "DEAD"
"#;
const BATCH: &str = "device_id,profile,x_serial,x_host,x_ip,x_line\n\
    gw-1,gateway,SN-1,GW-1.Acme.Example,10.0.0.7,L1\n\
    pump-1,,,,,\n";

fn shop(profile: &str) -> Shop {
    let shop = Shop::new();
    shop.write("ca/profile.toml", profile);
    shop
}

/// The certificate of an identity as OpenSSL prints it, and what OpenSSL at its strictest says of its chain.
fn shown(shop: &Shop, out: &str, device: &str, purpose: &str) -> String {
    let files = format!("{out}-{device}-files");
    shop.ok(&format!("extract {out} --device-id {device} --out {files}"));
    shop.openssl(&format!(
        "verify -x509_strict -purpose {purpose} -CAfile ca/root.pem -untrusted ca/issuing.pem {files}/cert.pem"
    ));
    shop.openssl(&format!("x509 -noout -text -nameopt RFC2253 -in {files}/cert.pem"))
}

#[test]
fn a_profile_says_what_its_row_and_its_templates_say() {
    let shop = shop(GATEWAY);
    shop.write("batch.csv", BATCH);
    shop.ok("issue --ca ca --from batch.csv --out out");
    let text = shown(&shop, "out", "gw-1", "sslserver");
    for said in [
        "Subject: CN=gw-1,serialNumber=SN-1,OU=Plant 7,O=Acme,C=DE",
        "TLS Web Client Authentication, TLS Web Server Authentication",
        "DNS:gw-1.plant7.acme.example, DNS:gw-1.acme.example, URI:urn:acme:gw-1, IP Address:10.0.0.7",
        "URI:http://pki.acme.example/issuing.crl",
        "CA Issuers - URI:http://pki.acme.example/issuing.crt",
        "1.3.6.1.4.1.55555.1",
        "..line L1",
        "CA:FALSE",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    assert!(!shown(&shop, "out", "pump-1", "sslclient").contains("Alternative"), "no profile was asked for");
    // 89 days.
    shop.openssl("x509 -noout -checkend 7689600 -in out-gw-1-files/cert.pem");
    let shown = shop.ok("ca show ca");
    assert!(
        shown.contains("gateway (ca/profile.toml:1): subject, clientAuth+serverAuth, 2 san.dns"),
        "{shown}"
    );
    assert!(shop.ok("ca show ca --format json").contains("55555.1"));
}

#[test]
fn a_subject_may_be_given_without_a_profile() {
    let shop = Shop::new();
    let said = shop.run_args(&[
        "issue",
        "--ca",
        "ca",
        "--device-id",
        "pump-1",
        "--subject",
        "C=DE,O=Acme,OU=Plant 7",
        "--out",
        "out",
    ]);
    assert_eq!(said.code, 0, "{}", said.err);
    let text = shown(&shop, "out", "pump-1", "sslclient");
    assert!(text.contains("Subject: CN=pump-1,OU=Plant 7,O=Acme,C=DE"), "{text}");
    let refused = |subject: &str| {
        shop.run_args(&[
            "issue",
            "--ca",
            "ca",
            "--device-id",
            "pump-2",
            "--subject",
            subject,
            "--out",
            "other",
        ])
    };
    for (subject, told) in [
        ("O=Acme,CN=other", "second CN"),
        ("O=Acme,C=de", "capital letters"),
        ("O=Acme,", "missing"),
        ("serialNumber={{ x_serial }}", "`x_serial` is not a column"),
    ] {
        let said = refused(subject);
        assert!(said.code != 0 && said.err.contains(told), "{subject}: {said:?}");
    }
}

#[test]
fn a_row_that_its_profile_can_not_serve_is_refused_with_its_line() {
    let shop = shop(GATEWAY);
    for (row, told) in [
        ("gw-1,gateway,,a.b,10.0.0.7,L1", "(ca/profile.toml:2): `subject`: `serialNumber` yields nothing"),
        ("gw-1,gateway,\"5,CN=root\",a.b,10.0.0.7,L1", "second CN"),
        ("gw-1,gateway,SN-1,,10.0.0.7,L1", "(ca/profile.toml:9): `san.dns`: it yields nothing"),
        ("gw-1,gateway,SN-1,*.acme.example,10.0.0.7,L1", "wildcard"),
        ("gw-1,gateway,SN-1,a_b,10.0.0.7,L1", "`a_b` is not a DNS name"),
        ("gw-1,gateway,SN-1,gw-1.plant7.acme.example,10.0.0.7,L1", "stands there twice"),
        (
            "gw-1,gateway,SN-1,a.b,10.0.0.700,L1",
            "(ca/profile.toml:11): `san.ip`: `10.0.0.700` is not an IP address",
        ),
        ("gw-1,gatewy,SN-1,a.b,10.0.0.7,L1", "there is no profile `gatewy`; the CA has `gateway`"),
    ] {
        shop.write("batch.csv", &format!("device_id,profile,x_serial,x_host,x_ip,x_line\n{row}\n"));
        let said = shop.fails(1, "issue --ca ca --from batch.csv --out out");
        assert!(said.contains("batch.csv:2: gw-1") && said.contains(told), "{row}: {said}");
        assert!(shop.run("find --ca ca --device-id gw-1").out.is_empty(), "nothing was issued");
    }
}

#[test]
fn a_profile_that_can_not_be_meant_is_refused_with_its_line() {
    let shop = Shop::new();
    for (profile, told) in [
        (
            "[a]\nca = true\n",
            "ca/profile.toml:2: profile `a`: `ca`: a profile is for devices and modules, never for a CA (CA:TRUE)",
        ),
        ("[a]\nbasic_constraints = \"CA:TRUE\"\n", "never for a CA"),
        ("[a]\nextensions = [{ oid = \"2.5.29.19\", der = \"30030101ff\" }]\n", "never for a CA"),
        ("[a]\nkey_usages = [\"keyCertSign\"]\n", "ca/profile.toml:2"),
        ("[a]\n\nsubject = \"O=x,CN=y\"\n", "ca/profile.toml:3: profile `a`: `subject`: it has a second CN"),
        ("[a]\nsubject = \"O={{ x\"\n", "not a template"),
        ("[a]\nsan = { dns = [\"\"] }\n", "`san.dns`: it yields nothing"),
        ("[a]\nextended_key_usages = [\"serverAuth\", \"clientAuth\"]\n", "no name under `san`"),
        ("[a]\nextended_key_usages = []\n", "lacks clientAuth"),
        ("[a]\nextended_key_usages = [\"clientAuth\", \"OCSPSigning\"]\n", "not a purpose of a device"),
        ("[a]\nextended_key_usages = [\"clientAuth\", \"anyExtendedKeyUsage\"]\n", "be anything"),
        ("[a]\ndays = 3\nnot_after = 2099-01-01\n", "both given"),
        ("[a]\ndays = 0\n", "`days` is 0"),
        ("[a]\nnot_after = \"soon\"\n", "not a day"),
        ("[a]\nnot_before = 2027-02-01\nnot_after = 2027-01-01\n", "not later"),
        ("[a]\ncrl_distribution_points = [\"ftp://x/y\"]\n", "http://"),
        ("[a]\nextensions = [{ oid = \"1.3.6.1.4.1.5.1\" }]\n", "needs one value"),
        ("[a]\nextensions = [{ oid = \"1.3.6.1.4.1.5.1\", critical = true, utf8 = \"x\" }]\n", "must refuse"),
        (
            "[a]\n[[a.extensions]]\noid = \"2.16.840.1.113730.1.1\"\nder = \"03020780\"\n",
            "ca/profile.toml:3: profile `a`: `extensions.oid`: 2.16.840.1.113730.1.1 is the Netscape certificate type",
        ),
        // Another spelling of basic constraints.
        (
            "[a]\n[[a.extensions]]\noid = \"2.5.29.019\"\nder = \"30030101FF\"\n",
            "ca/profile.toml:3: profile `a`: ",
        ),
        (
            "[a]\ndays = \"x\"\n",
            "ca/profile.toml:2: column 8: `days`: the wrong type: string \"x\", expected a whole number",
        ),
        (
            "[a]\nsan = 1\n",
            "ca/profile.toml:2: column 7: `san`: the wrong type: integer `1`, expected a table",
        ),
        ("[a]\nsubjekt = \"O=x\"\n", "ca/profile.toml:2: column 1: a key is unknown: `subjekt`"),
        (
            "[a]\nextended_key_usages = [\"clientAuth\", \"1.3.6.1.4.1.311.20.2.2\"]\n",
            "ca/profile.toml:2: profile `a`: `extended_key_usages`: `1.3.6.1.4.1.311.20.2.2` is the smart card logon",
        ),
        ("[a]\nextended_key_usages = [\"clientAuth\", \"1.3.6.1.5.2.3.5\"]\n", "Kerberos"),
        ("[a]\nextensions = [{ oid = \"1.3.6.1.4.1.311.20.2\", utf8 = \"User\" }]\n", "template of Windows"),
        ("[a]\nextensions = [{ oid = \"1.3.6.1.4.1.311.25.2\", der = \"0500\" }]\n", "security identifier"),
        ("[a]\nsan = { upn = [\"root@acme.example\"] }\n", "`san.upn`: it names a user"),
        (
            "[a]\nsan = { otherName = \"1.3.6.1.4.1.311.20.2.3;UTF8:root\" }\n",
            "`san.other_name`: it names a user",
        ),
        ("[a]\nsan = { uri = [\"tag:microsoft.com,2022-09-14:sid:S-1-5-21-1\"] }\n", "security identifier"),
        ("[a]\nsubject = \"1.3.6.1.4.1.311.20.2.3=root\"\n", "user principal name"),
        ("[a]\nsan = { dns = [\"127.1\"] }\n", "`127.1` is read as an IP address"),
        ("[a]\nsan = { uri = [\"https://u:p@a.example/\"] }\n", "it has a password"),
        (
            "[a]\nca_issuers = [\"https://a/b\"]\n",
            "ca/profile.toml:2: profile `a`: `ca_issuers`: `https://a/b` can't",
        ),
        ("[a]\nocsp = [\"http://a/b%zz\"]\n", "two hex digits"),
        ("[a]\ncrl_distribution_points = [\"file:///etc/x\"]\n", "http://"),
        (
            "[a]\n\ndays = 99999999\n",
            "ca/profile.toml:3: profile `a`: `days` is 99999999: it leads beyond the year 9999",
        ),
        ("[default]\nsubject = \"O=x\"\n", "without a profile"),
        ("[a]\n[a]\n", "ca/profile.toml:2"),
    ] {
        shop.write("ca/profile.toml", profile);
        let said = shop.fails(3, "issue --ca ca --device-id pump-1 --out out");
        assert!(said.contains(told), "{profile}: {said}");
        assert!(!shop.path("out").exists(), "{profile}: nothing is begun");
    }
    // Beyond the last date of X.509 by less than the years since this program was written.
    shop.write("ca/profile.toml", "[a]\n\ndays = 2912700\n");
    let said = shop.fails(3, "issue --ca ca --device-id pump-1 --out out --profile a");
    assert!(said.contains("ca/profile.toml:1: profile `a`: `days`: "), "{said}");
}

#[test]
fn a_policy_binds_profiles_and_a_contradiction_is_refused() {
    let shop = shop(GATEWAY);
    shop.write("batch.csv", BATCH);
    for (rule, told) in [
        (
            "max_days = 30",
            "profile.toml:4: profile `gateway`: `days`: rule `max_days` of the policy (policy.toml:1) allows 30 days, not 90",
        ),
        ("extended_key_usages = [\"clientAuth\"]", "does not allow `serverAuth`"),
        (
            "extensions = [\"1.3.6.1.4.1.55555.1\"]",
            "rule `extensions` of the policy (policy.toml:1) does not allow `1.3.6.1.4.1.55555.2`",
        ),
    ] {
        shop.write("ca/policy.toml", rule);
        let said = shop.fails(3, "issue --ca ca --from batch.csv --out out --profile gateway");
        assert!(said.contains(told) && !shop.path("out").exists(), "{rule}: {said}");
    }
    std::fs::remove_file(shop.path("ca/policy.toml")).unwrap();
    let said = shop.fails(3, "ca policy ca --extended-key-usages clientAuth");
    assert!(said.contains("serverAuth") && !shop.path("ca/policy.toml").exists(), "{said}");
    for (rule, told) in [
        ("--dns-names .*\\.plant8\\..*", "`gw-1.plant7.acme.example` does not match"),
        ("--ip-addresses 192.168.0.0/16", "does not allow `10.0.0.7`"),
        ("--uris urn:other:.*", "`urn:acme:gw-1` does not match"),
        (
            "--subjects C=DE,O=Acme,serialNumber=.*",
            "`C=DE,O=Acme,OU=Plant 7,serialNumber=SN-1` does not match",
        ),
    ] {
        shop.ok(&format!("ca policy ca --clear {rule}"));
        let said = shop.fails(1, "issue --ca ca --from batch.csv --out out");
        assert!(said.contains(told) && said.contains("batch.csv:2"), "{rule}: {said}");
    }
    let said = shop.fails(1, "issue --ca ca --device-id pump-9 --out out2");
    assert!(said.contains("rule subjects"), "a plain certificate has no subject: {said}");
    shop.ok("ca policy ca --clear --dns-names .*\\.example --ip-addresses 10.0.0.0/8 --subjects (C=DE,.*)?");
    shop.ok("issue --ca ca --from batch.csv --out out");
}

#[test]
fn what_is_asked_for_twice_is_refused() {
    let shop = shop(GATEWAY);
    let said = shop.fails(2, "issue --ca ca --device-id d --out out --profile gateway --days 3");
    assert!(said.contains("dates of its own"), "{said}");
    let said = shop.fails(2, "issue --ca ca --device-id d --out out --profile gateway --subject O=x");
    assert!(said.contains("has a subject"), "{said}");
    let said = shop.fails(2, "issue --ca ca --device-id d --out out --profile other");
    assert!(said.contains("there is no profile `other`; the CA has `gateway`"), "{said}");
    assert!(!shop.path("out").exists());
}

#[test]
fn a_renewal_does_not_lose_what_a_profile_gave() {
    let shop = shop("[a]\nsubject = \"O=Acme\"\nsan = { dns = [\"{{ device_id }}.acme.example\"] }\n");
    shop.ok("issue --ca ca --device-id pump-1 --profile a --out out");
    let said = shop.fails(1, "renew --ca ca --device-id pump-1 --out renewed");
    assert!(said.contains("has a subject, alternative names") && said.contains("--profile"), "{said}");
    shop.ok("renew --ca ca --device-id pump-1 --profile a --out renewed");
    assert!(shown(&shop, "renewed", "pump-1", "sslclient").contains("DNS:pump-1.acme.example"));
    shop.ok("issue --ca ca --device-id pump-2 --out out2");
    shop.ok("renew --ca ca --device-id pump-2 --out renewed2");
}

#[test]
fn dates_are_days_or_moments_and_never_beyond_the_ca() {
    // The CA begins now and lasts ten years.
    let day = |days| (now() + time::Duration::days(days)).date();
    let (begin, end, moment, late) = (day(1), day(200), day(400), day(9000));
    let shop = shop(&format!(
        "[a]\nnot_before = {begin}\nnot_after = {end}\n[b]\nnot_after = \"{moment}T03:04:05Z\"\n[c]\n\
         not_after = {late}\n[d]\nnot_before = 1999-01-01\n"
    ));
    let dates = |name: &str| {
        shop.ok(&format!("issue --ca ca --device-id {name} --profile {name} --out out-{name}"));
        shop.ok(&format!("extract out-{name} --device-id {name} --out files-{name}"));
        shop.openssl(&format!("x509 -noout -dates -dateopt iso_8601 -in files-{name}/cert.pem"))
    };
    assert_eq!(dates("a"), format!("notBefore={begin} 00:00:00Z\nnotAfter={end} 23:59:59Z\n"));
    assert!(dates("b").contains(&format!("notAfter={moment} 03:04:05Z")));
    for (name, told) in
        [("c", "profile `c`: `not_after` is later than the CA"), ("d", "`not_before` is earlier")]
    {
        let said = shop.fails(3, &format!("issue --ca ca --device-id x --profile {name} --out out-x"));
        assert!(said.contains(told) && said.contains("ca/profile.toml:"), "{said}");
    }
}

#[test]
fn cas_have_subjects_too() {
    let shop = Shop::new();
    let init = |words: &[&str]| shop.run_args(&[&["ca"], words].concat());
    let subject = ["--name", "Plant 7", "--subject", "C=DE,O=Acme\\, Inc.,OU=Plant 7"];
    assert_eq!(init(&[&["init", "acme"], &subject[..]].concat()).code, 0);
    for (file, name) in [("root.pem", "Plant 7 Root CA"), ("issuing.pem", "Plant 7 Issuing CA")] {
        let said = shop.openssl(&format!("x509 -noout -subject -nameopt RFC2253 -in acme/{file}"));
        assert_eq!(said.trim(), format!("subject=CN={name},OU=Plant 7,O=Acme\\, Inc.,C=DE"));
    }
    shop.openssl("verify -x509_strict -CAfile acme/root.pem acme/root.pem acme/issuing.pem");
    shop.ok("issue --ca acme --device-id pump-1 --out out");
    shop.ok("extract out --device-id pump-1 --out files");
    shop.openssl("verify -x509_strict -CAfile acme/root.pem -untrusted acme/issuing.pem files/cert.pem");
    shop.ok("ca rekey acme acme2");
    let said = shop.openssl("x509 -noout -subject -nameopt RFC2253 -in acme2/root.pem");
    assert_eq!(said.trim(), "subject=CN=Plant 7 G2 Root CA,OU=Plant 7,O=Acme\\, Inc.,C=DE");
    assert_eq!(init(&[&["csr", "below"], &subject[..]].concat()).code, 0);
    let said = shop.openssl("req -noout -verify -subject -nameopt RFC2253 -in below/issuing.csr");
    assert!(said.contains("subject=CN=Plant 7 Issuing CA,OU=Plant 7,O=Acme\\, Inc.,C=DE"), "{said}");
    for (text, told) in [("O=Acme,CN=x", "--name"), ("O={{ x }}", "a CA has no row"), ("C=DEU", "2")] {
        let said = init(&["init", "other", "--subject", text]);
        assert!(
            said.code == 2 && said.err.contains(told) && !shop.path("other").exists(),
            "{text}: {said:?}"
        );
    }
}
