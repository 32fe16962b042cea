//! Encrypted private keys as OpenSSL and others write them: opened, or refused with the truth.

use crate::support::{Said, Shop};

/// A shop with a device's key in `key.pem`, encrypted by OpenSSL's `pkcs8 -topk8` in `locked.pem`.
fn locked(shop: &Shop, options: &str) {
    shop.openssl(&format!("pkcs8 -topk8 -in key.pem -out locked.pem -passout pass:right {options}"));
}

fn shop() -> Shop {
    let shop = Shop::new();
    shop.openssl("ecparam -name prime256v1 -genkey -noout -out key.pem");
    shop.write_secret("right", "right\n");
    shop.write_secret("wrong", "wrong\n");
    shop
}

fn thumbprint(shop: &Shop, password: &str) -> Said {
    shop.run(&format!("thumbprint locked.pem --password-file {password}"))
}

#[test]
fn every_function_and_cipher_of_pbes2_opens_with_the_right_password_only() {
    let shop = shop();
    let plain = shop.ok("thumbprint key.pem");
    let thumbprint_of = |text: &str| text.split_whitespace().find(|word| word.len() == 64).map(str::to_owned);
    assert!(thumbprint_of(&plain).is_some(), "{plain}");
    let functions = ["SHA1", "SHA224", "SHA256", "SHA384", "SHA512"];
    let ciphers = ["aes-128-cbc", "aes-192-cbc", "aes-256-cbc", "des3"];
    let mut ways: Vec<_> =
        functions.iter().map(|prf| format!("-v2 aes-256-cbc -v2prf hmacWith{prf} -iter 2048")).collect();
    ways.extend(ciphers.iter().map(|cipher| format!("-v2 {cipher} -v2prf hmacWithSHA1 -iter 2048")));
    ways.extend(["-scrypt".to_owned(), "-scrypt -v2 des3".to_owned()]);
    for way in ways {
        locked(&shop, &way);
        let said = thumbprint(&shop, "right");
        assert_eq!((said.code, thumbprint_of(&said.out)), (0, thumbprint_of(&plain)), "{way}: {}", said.err);
        let said = thumbprint(&shop, "wrong");
        assert_eq!(said.code, 1, "{way}");
        assert!(said.err.contains("does not open `locked.pem`"), "{way}: {}", said.err);
    }
}

#[test]
fn what_is_not_read_is_named_with_the_line_that_converts_it() {
    let shop = shop();
    shop.openssl("ec -in key.pem -aes256 -out dek.pem -passout pass:right");
    locked(&shop, "-v1 PBE-SHA1-3DES");
    let cases = [
        ("dek.pem", "encrypted with OpenSSL's old PEM encryption (`DEK-Info`), which is not read here"),
        ("locked.pem", "encrypted with PKCS #12 PBE (SHA-1 and 3-key triple DES), which is not read here"),
    ];
    for (file, told) in cases {
        let said = shop.run(&format!("thumbprint {file} --password-file right"));
        assert_eq!(said.code, 1, "{file}");
        assert!(said.err.contains(&format!("`{file}` is {told}")), "{}", said.err);
        let line = said.err.split('`').find(|text| text.starts_with("openssl pkcs8")).unwrap();
        let (line, out) = (line.strip_prefix("openssl ").unwrap(), format!("{file}.pkcs8.pem"));
        assert!(line.ends_with(&out), "{line}");
        // What it says to do, done.
        shop.openssl(&format!("{line} -passin pass:right -passout pass:right"));
        shop.ok(&format!("thumbprint {out} --password-file right"));
    }
    locked(&shop, "-v2 camellia-256-cbc");
    let said = thumbprint(&shop, "right");
    assert!(said.err.contains("is encrypted with Camellia-256-CBC, which is not read here"), "{}", said.err);
}

#[test]
fn every_verb_that_takes_a_key_tells_the_same() {
    let shop = shop();
    shop.openssl("ec -in key.pem -aes256 -out dek.pem -passout pass:right");
    shop.openssl("req -x509 -new -key key.pem -subj /CN=a -days 9 -out a.pem");
    let verify = "verify a.pem --ca a.pem --key dek.pem --password-file right";
    for (code, words) in [
        (2, verify),
        (3, "csr --device-id a --key dek.pem --out a.csr"),
        (3, "ca import copy --certificate ca/issuing.pem --key dek.pem --passphrase-file right"),
    ] {
        let said = shop.run(words);
        assert!(said.err.contains("OpenSSL's old PEM encryption (`DEK-Info`)"), "{words}: {}", said.err);
        assert!(said.err.contains("-in dek.pem -out dek.pem.pkcs8.pem"), "{words}: {}", said.err);
        assert_eq!(said.code, code, "{words}");
    }
}

#[test]
fn show_names_the_encryption_that_it_can_not_open() {
    let shop = shop();
    shop.openssl("ec -in key.pem -aes256 -out dek.pem -passout pass:right");
    for words in ["show dek.pem", "show dek.pem --password-file right"] {
        let said = shop.run(words);
        assert!(said.out.contains("encrypted private key"), "{words}: {}", said.out);
        assert!(said.err.contains("OpenSSL's old PEM encryption (`DEK-Info`)"), "{words}: {}", said.err);
        assert!(said.err.contains("-in dek.pem -out dek.pem.pkcs8.pem"), "{words}: {}", said.err);
        assert_eq!(said.code, 0, "{words}");
    }
}

#[test]
fn a_damaged_key_is_not_called_a_wrong_password() {
    let shop = shop();
    locked(&shop, "-v2 aes-256-cbc");
    let text = std::fs::read_to_string(shop.path("locked.pem")).unwrap();
    // One block of base64 less: the length no longer fits.
    let cut: Vec<_> = text.lines().enumerate().filter(|(line, _)| *line != 2).map(|(_, text)| text).collect();
    std::fs::write(shop.path("locked.pem"), cut.join("\n")).unwrap();
    let said = thumbprint(&shop, "right");
    assert_eq!(said.code, 1);
    assert!(said.err.contains("a damaged encrypted private key"), "{}", said.err);
}
