//! Keys, requests and certificates of others: what is read, and what is refused at every door.

use openssl::bn::{BigNum, BigNumContext, BigNumRef};
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::{Rsa, RsaPrivateKeyBuilder};
use openssl::x509::{X509NameBuilder, X509ReqBuilder};

use crate::support::Shop;

#[test]
fn one_key_has_one_identity_however_its_point_is_encoded() {
    let shop = Shop::new();
    shop.openssl("ecparam -name prime256v1 -genkey -noout -out key.pem");
    for (name, form) in [("plain", "uncompressed"), ("short", "compressed"), ("mixed", "hybrid")] {
        shop.openssl(&format!("ec -in key.pem -conv_form {form} -out {form}.pem"));
        shop.openssl(&format!("req -new -key {form}.pem -subj /CN={name} -out {name}.csr"));
        shop.openssl(&format!("pkey -in {form}.pem -pubout -out {form}.pub"));
    }
    // Certified is the usual form, which Java and Go read.
    shop.ok("sign short.csr --ca ca --out signed");
    let certified = shop.openssl("x509 -in signed/devices/short/cert.pem -noout -pubkey");
    assert_eq!(certified, shop.openssl("pkey -in key.pem -pubout"));
    let said = shop.fails(1, "sign plain.csr mixed.csr --ca ca --out signed");
    assert!(said.contains("plain.csr: plain: its key is that of `short` (rule key_of_another)"), "{said}");
    assert!(
        said.contains("hybrid form") && said.contains("RFC 5480 §2.2") && said.contains("(rule weak_key)"),
        "{said}"
    );
    for (form, told) in
        [("uncompressed", "key_of_another"), ("compressed", "key_of_another"), ("hybrid", "weak_key")]
    {
        shop.write("batch.csv", &format!("device_id,public_key\nother,{form}.pub\n"));
        let said = shop.fails(1, "issue --ca ca --from batch.csv --out issued");
        assert!(said.contains(&format!("(rule {told})")), "{form}: {said}");
    }
}

#[test]
fn weak_keys_are_refused_at_every_door_with_the_rule() {
    let shop = Shop::new();
    let close = {
        let mut context = BigNumContext::new().unwrap();
        let p = prime(1024);
        let mut q = p.to_owned().unwrap();
        loop {
            q.add_word(2).unwrap();
            if q.is_prime(20, &mut context).unwrap() {
                break key_of(&p, &q);
            }
        }
    };
    for (name, key, rule) in [
        ("close", close, "BR §6.1.1.3"),
        ("small", key_of(&BigNum::from_u32(743).unwrap(), &prime(2040)), "divisible by 743 (BR §6.1.6)"),
    ] {
        std::fs::write(shop.path(&format!("{name}.csr")), request(name, &key)).unwrap();
        std::fs::write(shop.path(&format!("{name}.pub")), key.public_key_to_pem().unwrap()).unwrap();
        let pem = String::from_utf8(key.private_key_to_pem_pkcs8().unwrap()).unwrap();
        shop.write_secret(&format!("{name}.key"), &pem);
        let said = shop.fails(1, &format!("sign {name}.csr --ca ca --out signed"));
        assert!(said.contains(rule) && said.contains("(rule weak_key)"), "{said}");
        shop.write("batch.csv", &format!("device_id,public_key\n{name},{name}.pub\n"));
        let said = shop.fails(1, "issue --ca ca --from batch.csv --out issued");
        assert!(said.contains(rule) && said.contains("(rule weak_key)"), "{said}");
        let said = shop.fails(3, &format!("ca sign {name}.csr --ca ca --out {name}-ca.pem"));
        assert!(said.contains(rule), "{said}");
    }
    shop.openssl(
        "req -x509 -key close.key -subj /CN=Close -days 90 -addext keyUsage=critical,keyCertSign,cRLSign -out close.pem",
    );
    let said = shop.fails(3, "ca import close-ca --certificate close.pem --key close.key");
    assert!(said.contains("BR §6.1.1.3"), "{said}");
    assert!(!shop.path("close-ca").exists());
    // Nobody signs with these: they only come as public keys.
    let even = {
        let mut it = BigNum::from_u32(1).unwrap();
        it.lshift(&BigNum::from_u32(1).unwrap(), 2047).unwrap();
        it
    };
    let mut odd = even.to_owned().unwrap();
    odd.add_word(1).unwrap();
    let p = prime(1024);
    let mut square = BigNum::new().unwrap();
    square.checked_mul(&p, &p, &mut BigNumContext::new().unwrap()).unwrap();
    for (name, modulus, exponent, rule) in [
        ("even", even, 65_537, "even"),
        ("power", odd, 65_537, "divisible by 3"),
        ("square", square, 65_537, "power of a number"),
        ("prime", prime(2048), 65_537, "prime number"),
        ("exponent", good_modulus(), 3, "exponent"),
    ] {
        let key = Rsa::from_public_components(modulus, BigNum::from_u32(exponent).unwrap()).unwrap();
        std::fs::write(shop.path("bad.pub"), key.public_key_to_pem().unwrap()).unwrap();
        shop.write("batch.csv", &format!("device_id,public_key\n{name},bad.pub\n"));
        let said = shop.fails(1, "issue --ca ca --from batch.csv --out issued");
        assert!(
            said.contains(rule) && said.contains("BR §6.1.6") && said.contains("(rule weak_key)"),
            "{name}: {said}"
        );
    }
}

#[test]
fn rsa_public_keys_of_pkcs_1_are_read() {
    let shop = Shop::new();
    shop.openssl("genrsa -out key.pem 2048");
    shop.openssl("rsa -in key.pem -RSAPublicKey_out -out key.pub");
    shop.openssl("rsa -in key.pem -RSAPublicKey_out -outform DER -out key.der");
    shop.write("batch.csv", "device_id,public_key\na,key.pub\n");
    shop.ok("issue --ca ca --from batch.csv --out issued --sink folder");
    let certified = shop.openssl("x509 -in issued/devices/a/cert.pem -noout -pubkey");
    assert_eq!(certified, shop.openssl("pkey -in key.pem -pubout"));
    for file in ["key.pub", "key.der"] {
        assert!(shop.ok(&format!("show {file}")).contains("RSA 2048"), "{file}");
    }
}

#[test]
fn a_ca_s_own_key_gets_no_device_certificate() {
    let shop = Shop::new();
    for ca in ["root", "issuing"] {
        shop.openssl(&format!("req -new -key ca/{ca}.key -subj /CN={ca} -out {ca}.csr"));
        let said = shop.fails(1, &format!("sign {ca}.csr --ca ca --out signed"));
        assert!(said.contains("its key is that of a CA") && said.contains("(rule key_of_ca)"), "{said}");
    }
    // The root signs neither its own key nor its own name.
    shop.bash("openssl req -new -key ca/root.key -subj '/CN=Another CA' -out key.csr");
    let said = shop.fails(3, "ca sign key.csr --ca ca --out key-ca.pem");
    assert!(said.contains("its key is that of a CA"), "{said}");
    shop.bash(
        "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout k -subj '/CN=factory  ROOT CA' -out name.csr",
    );
    let said = shop.fails(3, "ca sign name.csr --ca ca --out name-ca.pem");
    assert!(said.contains("its name is that of the CA that would sign it"), "{said}");
}

#[test]
fn keys_are_read_in_der_pem_and_pfx_encrypted_or_not() {
    let shop = Shop::new();
    shop.openssl("ecparam -name prime256v1 -genkey -out pem.key");
    shop.openssl("pkey -in pem.key -outform DER -out der.key");
    shop.openssl("pkcs8 -topk8 -in pem.key -v2 aes256 -iter 1000 -passout pass:pw -out aes.key");
    shop.openssl(
        "pkcs8 -topk8 -in pem.key -v2 aes256 -iter 1000 -passout pass:pw -outform DER -out aes-der.key",
    );
    shop.openssl("req -x509 -new -key pem.key -subj /CN=x -days 9 -out x.pem");
    shop.openssl("pkcs12 -export -inkey pem.key -in x.pem -passout pass:pw -out pfx.key");
    shop.openssl("pkcs12 -export -inkey pem.key -in x.pem -passout pass: -out open.key");
    shop.bash("cat x.pem pem.key >behind.key; chmod 600 *.key");
    shop.write_secret("pw", "pw\n");
    for (file, password) in [
        ("pem", ""),
        ("der", ""),
        ("behind", ""),
        ("open", ""),
        ("aes", "--passphrase-file pw"),
        ("aes-der", "--passphrase-file pw"),
        ("pfx", "--passphrase-file pw"),
    ] {
        shop.ok(&format!("csr --key {file}.key --device-id a --out {file}.csr {password}"));
        let key = shop.openssl(&format!("req -in {file}.csr -noout -pubkey"));
        assert_eq!(key, shop.openssl("pkey -in pem.key -pubout"), "{file}");
    }
    // The hint names what the verb has.
    let said = shop.fails(3, "csr --key aes.key --device-id a --out a.csr");
    assert!(said.contains("--passphrase-file") && !said.contains("--pin-file"), "{said}");
    let said = shop.fails(3, "csr --key x.pem --device-id a --out a.csr");
    assert!(
        said.contains("can be read by others") || said.contains("is a certificate, not a private key"),
        "{said}"
    );
}

#[test]
fn a_pfx_file_as_a_ca_s_key_is_imported() {
    let shop = Shop::new();
    shop.openssl("pkcs12 -export -inkey ca/issuing.key -in ca/issuing.pem -passout pass:pw -out ca.pfx");
    shop.bash("chmod 600 ca.pfx");
    shop.write_secret("pw", "pw\n");
    shop.ok(
        "ca import copy --certificate ca/issuing.pem --chain ca/root.pem --key ca.pfx --passphrase-file pw",
    );
    shop.ok("issue --ca copy --device-id a --out issued --passphrase-file pw");
    // Its copy is encrypted as the file was.
    assert!(std::fs::read_to_string(shop.path("copy/issuing.key")).unwrap().contains("ENCRYPTED"));
}

#[test]
fn pfx_files_that_are_not_read_are_named_with_the_way_out() {
    let shop = Shop::new();
    shop.ok("issue --ca ca --device-id a --out issued");
    shop.write_secret("emoji", "pass\u{1f600}word\n");
    let said = shop.fails(2, "pfx issued --device-id a --out a.pfx --password-file emoji");
    assert!(said.contains("beyond U+FFFF") && !shop.path("a.pfx").exists(), "{said}");
    shop.openssl(
        "pkcs12 -export -inkey ca/issuing.key -in ca/issuing.pem -passout file:emoji -out emoji.pfx",
    );
    shop.bash("chmod 600 emoji.pfx");
    let said =
        shop.run("ca import copy --certificate ca/issuing.pem --key emoji.pfx --passphrase-file emoji");
    assert!(
        said.code != 0
            && said.err.contains("beyond U+FFFF")
            && said.err.contains("openssl pkcs12 -in emoji.pfx")
            && !said.err.contains("does not open"),
        "{}",
        said.err
    );
    // SEQUENCE of indefinite length, version 3, and so on: as NSS begins its files.
    std::fs::write(shop.path("nss.pfx"), [0x30, 0x80, 0x02, 0x01, 0x03, 0x30, 0x80, 0, 0, 0, 0]).unwrap();
    let said = shop.fails(1, "show nss.pfx");
    assert!(
        said.contains("in BER with indefinite lengths") && said.contains("openssl pkcs12 -in nss.pfx"),
        "{said}"
    );
}

#[test]
fn of_a_pem_file_each_verb_takes_the_blocks_that_it_wants() {
    let shop = Shop::new();
    shop.openssl("ecparam -name prime256v1 -genkey -out key.pem");
    shop.openssl("req -x509 -new -key key.pem -subj /CN=a -days 9 -out cert.pem");
    shop.openssl("x509 -in cert.pem -trustout -out trusted.pem");
    shop.openssl("crl2pkcs7 -nocrl -certfile ca/issuing.pem -certfile ca/root.pem -out chain.p7b");
    shop.openssl(
        "crl2pkcs7 -nocrl -certfile ca/root.pem -certfile ca/issuing.pem -outform DER -out chain.p7c",
    );
    shop.bash("cat key.pem cert.pem >key-first.pem; cat cert.pem key.pem >cert-first.pem; cat key.pem trusted.pem >trust.pem");
    let thumbprint = shop.openssl("x509 -in cert.pem -noout -fingerprint -sha256");
    let thumbprint = thumbprint.split('=').nth(1).unwrap().trim().replace(':', "");
    for file in ["key-first.pem", "cert-first.pem", "trust.pem", "trusted.pem"] {
        // Whether a hub would take it is another question.
        let said = shop.run(&format!(
            "verify {file} --thumbprint {thumbprint} --device-id a --key key.pem --format json"
        ));
        assert!(said.code < 2 && said.out.contains("thumbprint"), "{file}: {}{}", said.out, said.err);
        let known = cert_tool::read_certificate(&shop.path(file)).unwrap();
        assert_eq!(known.sha256().to_string(), thumbprint, "{file}");
    }
    for file in ["chain.p7b", "chain.p7c"] {
        let names: Vec<_> = cert_tool::read_certificates(&shop.path(file)).unwrap();
        let names: Vec<_> = names.iter().map(|it| it.common_name().unwrap().to_owned()).collect();
        assert_eq!(names, ["Factory Issuing CA", "Factory Root CA"], "{file}");
        assert!(shop.ok(&format!("show {file}")).contains("Factory Root CA"), "{file}");
    }
}

#[test]
fn what_could_not_be_issued_leaves_nothing_and_a_row_that_was_not_written_belongs_to_nobody() {
    let shop = Shop::new();
    shop.openssl("ecparam -name prime192v1 -genkey -noout -out weak.pem");
    shop.openssl("req -new -key weak.pem -subj /CN=a -out weak.csr");
    let said = shop.run("sign weak.csr --ca ca --out out");
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(!shop.path("out").exists());
    // Any other form will do now.
    shop.ok("issue --ca ca --device-id a --out out --sink tar");
    // A disk that is full for the rows, but not for the index.
    shop.write("batch.csv", "device_id\nb\nc\n");
    shop.ok("issue --ca ca --device-id z --out full --sink bundle");
    let issued = std::fs::read(shop.path("full/issued.csv")).unwrap();
    shop.ok("issue --ca ca --from batch.csv --out full --sink bundle");
    std::fs::write(shop.path("full/issued.csv"), &issued).unwrap();
    let index = rusqlite_released(&shop);
    assert_eq!(index, 1, "the output was found");
    let said = shop.run("issue --ca ca --from batch.csv --out other --sink bundle");
    assert!(said.code == 0 && said.out.starts_with("2 issued"), "{}{}", said.out, said.err);
    // What was whole is still there.
    assert!(shop.ok("find --ca ca --device-id z").contains('z'));
}

/// Makes the index believe that nothing of the last call was known to be on the disk, as after a failed write.
fn rusqlite_released(shop: &Shop) -> usize {
    let change = "UPDATE outputs SET released = (SELECT MIN(id) FROM certificates c WHERE c.output = outputs.id) \
                  WHERE path LIKE '%full'";
    let connection = rusqlite::Connection::open(shop.path("ca/index.db")).unwrap();
    connection.execute(change, []).unwrap()
}

#[test]
fn a_request_with_its_private_key_is_disclosed_and_weak_hashes_are_weak() {
    let shop = Shop::new();
    shop.openssl("ecparam -name prime256v1 -genkey -out key.pem");
    shop.openssl("req -new -key key.pem -subj /CN=a -out a.csr");
    shop.bash("cat a.csr key.pem >behind.csr; cat key.pem a.csr >before.csr");
    for file in ["behind.csr", "before.csr"] {
        let said = shop.fails(1, &format!("sign {file} --ca ca --out signed"));
        assert!(said.contains("the key is disclosed") && said.contains("(rule disclosed_key)"), "{said}");
    }
    for (key, name) in [("ec -pkeyopt ec_paramgen_curve:P-256", "ECDSA"), ("rsa:2048", "RSA")] {
        shop.openssl(&format!("req -new -newkey {key} -nodes -keyout k.pem -sha1 -subj /CN=a -out sha1.csr"));
        let said = shop.fails(1, "sign sha1.csr --ca ca --out signed");
        assert!(said.contains(&format!("signed with {name} with SHA-1, which is weak")), "{said}");
    }
}

#[test]
fn requests_of_other_programs_are_read_or_refused_with_the_truth() {
    let shop = Shop::new();
    for hash in ["sha256", "sha384", "sha512"] {
        for (key, curve) in [("ec", "P-256"), ("ec", "P-384"), ("rsa", "2048")] {
            let option = if key == "ec" { "ec_paramgen_curve" } else { "rsa_keygen_bits" };
            let name = format!("{hash}-{curve}");
            shop.openssl(&format!(
                "req -new -newkey {key} -pkeyopt {option}:{curve} -nodes -keyout k.pem -{hash} -subj /CN={name} -out r.csr"
            ));
            shop.ok(&format!("sign r.csr --ca ca --out signed-{name}"));
        }
    }
    let key = PKey::from_ec_key(openssl::ec::EcKey::generate(&p256()).unwrap()).unwrap();
    for (name, version, attributes, told) in [
        ("none", 0, None, None),
        ("empty", 0, Some(extension_request_without_values()), None),
        ("version", 1, Some(vec![0xa0, 0]), Some("unknown version")),
    ] {
        let der = hand_made_request(&key, name, version, attributes);
        std::fs::write(shop.path("r.csr"), der).unwrap();
        let said = shop.run(&format!("sign r.csr --ca ca --out signed-{name}"));
        match told {
            None if name == "none" => assert_eq!(said.code, 0, "{name}: {}", said.err),
            // The same key again.
            None => assert!(said.err.contains("key_of_another"), "{name}: {}", said.err),
            Some(told) => assert!(said.code == 1 && said.err.contains(told), "{name}: {}", said.err),
        }
    }
}

#[test]
fn what_a_request_asks_for_and_does_not_get_is_told() {
    let shop = Shop::new();
    std::fs::create_dir(shop.path("in")).unwrap();
    for (name, more) in [
        ("a", "-subj /O=Acme/CN=a -addext subjectAltName=DNS:a"),
        ("b", "-subj /CN=b -addext subjectAltName=DNS:b -addext 1.2.3.4=DER:0500"),
        ("c", "-subj /CN=c"),
    ] {
        shop.openssl(&format!("req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout k.pem {more} -out in/{name}.csr"));
    }
    let said = shop.run("sign in --ca ca --out signed");
    assert!(said.code == 0, "{}", said.err);
    assert!(said.err.contains("2 of the requests asked for more than a name and a key"), "{}", said.err);
    assert!(said.err.contains("1.2.3.4 (1), subject:O (1), subjectAltName (2)"), "{}", said.err);
    let said = shop.run("sign in --ca ca --out again --format json");
    assert_eq!(said.code, 1, "they have certificates: {}", said.err);
    std::fs::create_dir(shop.path("other")).unwrap();
    shop.openssl("req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout k.pem -subj /CN=d -addext subjectAltName=DNS:d -out other/d.csr");
    let report: serde_json::Value =
        serde_json::from_str(&shop.ok("sign other --ca ca --out signed --format json")).unwrap();
    assert_eq!(report["not_copied"], "subjectAltName");
}

#[test]
fn requests_in_folders_are_found_by_their_endings_and_the_rest_is_named() {
    let shop = Shop::new();
    std::fs::create_dir(shop.path("in")).unwrap();
    for (name, file) in
        [("a", "a.csr"), ("b", "B.CSR"), ("c", "c.csr.pem"), ("d", "d.Req"), ("e", "e.p10.DER")]
    {
        shop.ok(&format!("csr --device-id {name} --key-out {name}.pem --out in/{file}"));
    }
    shop.write("in/notes.txt", "not a request");
    shop.bash("mkfifo in/pipe.csr");
    let said = shop.run("sign in --ca ca --out signed");
    assert!(said.code == 0 && said.out.starts_with("5 issued"), "{}{}", said.out, said.err);
    assert!(
        said.err.contains("note: `in/notes.txt` passed over: requests in folders are files that end in"),
        "{}",
        said.err
    );
    assert!(
        said.err.contains("note: `in/pipe.csr` passed over: requests in folders are files, not pipes"),
        "{}",
        said.err
    );
    // Named itself, it is refused and keeps nobody waiting.
    let said = shop.fails(1, "sign in/pipe.csr --ca ca --out signed");
    assert!(said.contains("is a pipe or device, not a file"), "{said}");
}

#[test]
fn a_list_goes_through_links_and_to_devices_and_replaces_neither() {
    let shop = Shop::new();
    shop.bash("mkfifo pipe; cat pipe >through & cert-tool ca crl ca --out pipe && wait && test -p pipe && grep -q X509 through");
    shop.bash("touch real.crl; ln -s real.crl link.crl; cert-tool ca crl ca --out link.crl; test -L link.crl && grep -q X509 real.crl");
}

fn p256() -> openssl::ec::EcGroup {
    openssl::ec::EcGroup::from_curve_name(openssl::nid::Nid::X9_62_PRIME256V1).unwrap()
}

fn copy(number: &BigNumRef) -> BigNum {
    number.to_owned().unwrap()
}

fn prime(bits: i32) -> BigNum {
    let mut prime = BigNum::new().unwrap();
    prime.generate_prime(bits, false, None, None).unwrap();
    prime
}

fn good_modulus() -> BigNum {
    Rsa::generate(2048).unwrap().n().to_owned().unwrap()
}

/// The RSA key of two primes, with all the numbers that OpenSSL wants.
fn key_of(p: &BigNum, q: &BigNum) -> PKey<Private> {
    let mut context = BigNumContext::new().unwrap();
    let new = || BigNum::new().unwrap();
    let one = BigNum::from_u32(1).unwrap();
    let (mut n, mut p1, mut q1, mut phi) = (new(), new(), new(), new());
    n.checked_mul(p, q, &mut context).unwrap();
    p1.checked_sub(p, &one).unwrap();
    q1.checked_sub(q, &one).unwrap();
    phi.checked_mul(&p1, &q1, &mut context).unwrap();
    let e = BigNum::from_u32(65_537).unwrap();
    let (mut d, mut dp, mut dq, mut qi) = (new(), new(), new(), new());
    d.mod_inverse(&e, &phi, &mut context).unwrap();
    dp.nnmod(&d, &p1, &mut context).unwrap();
    dq.nnmod(&d, &q1, &mut context).unwrap();
    qi.mod_inverse(q, p, &mut context).unwrap();
    let key = RsaPrivateKeyBuilder::new(n, e, d).unwrap();
    let key = key.set_factors(copy(p), copy(q)).unwrap();
    PKey::from_rsa(key.set_crt_params(dp, dq, qi).unwrap().build()).unwrap()
}

fn request(name: &str, key: &PKey<Private>) -> Vec<u8> {
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_text("CN", name).unwrap();
    let mut request = X509ReqBuilder::new().unwrap();
    request.set_subject_name(&subject.build()).unwrap();
    request.set_pubkey(key).unwrap();
    request.sign(key, MessageDigest::sha256()).unwrap();
    request.build().to_pem().unwrap()
}

/// An `extensionRequest` whose set of values is empty, in the attributes of a request.
fn extension_request_without_values() -> Vec<u8> {
    let attribute = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x0e, 0x31, 0x00];
    value(0xa0, &value(0x30, &attribute))
}

/// A request that OpenSSL does not make, with a good signature.
fn hand_made_request(key: &PKey<Private>, name: &str, version: u8, attributes: Option<Vec<u8>>) -> Vec<u8> {
    let attribute = [[0x06, 0x03, 0x55, 0x04, 0x03].as_slice(), &value(0x0c, name.as_bytes())].concat();
    let subject = value(0x30, &value(0x31, &value(0x30, &attribute)));
    let info =
        [vec![2, 1, version], subject, key.public_key_to_der().unwrap(), attributes.unwrap_or_default()];
    let info = value(0x30, &info.concat());
    let mut signer = openssl::sign::Signer::new(MessageDigest::sha256(), key).unwrap();
    let signature = [vec![0], signer.sign_oneshot_to_vec(&info).unwrap()].concat();
    let algorithm = value(0x30, &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02]);
    value(0x30, &[info, algorithm, value(0x03, &signature)].concat())
}

/// A value in DER.
fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).unwrap();
    let header = if length < 0x80 { vec![tag, length] } else { vec![tag, 0x81, length] };
    [header, content.to_vec()].concat()
}
