//! A CA that ends before what is asked of it: every verb that signs says so, once.

use crate::support::{Said, Shop};

#[test]
fn every_verb_that_signs_tells_of_the_ca_s_own_end_once() {
    let shop = Shop::new();
    // A root of 30 days has an issuing CA of 15.
    shop.ok("ca init short --days 30");
    shop.ok("csr --device-id c --key-out c.key --out c.csr");
    shop.ok("ca csr plant --name Plant");
    let end = shop.openssl("x509 -in short/issuing.pem -noout -enddate -dateopt iso_8601");
    let end = end.trim().trim_start_matches("notAfter=").split_once(' ').unwrap().0;
    for words in [
        "issue --ca short --out out --count 20 --pattern d-{} --days 3650",
        "sign --ca short --out signed c.csr --days 3650",
        "renew --ca short --out again --from again.csv --days 16",
    ] {
        std::fs::write(shop.path("again.csv"), "device_id\nd-1\nd-2\n").unwrap();
        let said = shop.run(words);
        assert_eq!(said.code, 0, "{words}: {}", said.err);
        assert_eq!(notes(&said).len(), 1, "{words}: {}", said.err);
        assert!(notes(&said)[0].starts_with(&format!("note: the CA ends on {end} at ")), "{}", said.err);
    }
    let said = shop.run("ca sign --ca short --out plant.pem plant/issuing.csr --days 3650");
    assert_eq!((said.code, notes(&said).len()), (0, 1), "{}", said.err);
    assert!(notes(&said)[0].ends_with("ends with it, not after 3650 days"), "{}", said.err);
}

#[test]
fn where_the_ca_outlives_what_it_signs_nothing_is_said() {
    let shop = Shop::new();
    shop.ok("ca init short --days 30");
    for words in
        ["issue --ca ca --out out --device-id a", "issue --ca short --out short-out --device-id a --days 14"]
    {
        let said = shop.run(words);
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{words}");
    }
}

fn notes(said: &Said) -> Vec<&str> {
    said.err.lines().filter(|line| line.contains("the CA ends on")).collect()
}
