//! Text from outside in messages: a cell, an argument or a profile can't forge a line of its own, nor move a cursor.

use crate::support::Shop;

/// What a terminal would obey, and a line that looks like one of ours.
const HOSTILE: &str = "x\u{1b}[2J\nerror: forged";

fn check(said: &crate::support::Said, what: &str) {
    assert_ne!(said.code, 0, "{what} was taken");
    let printed = format!("{}{}", said.out, said.err);
    assert!(!printed.contains('\u{1b}'), "{what}: {printed:?}");
    assert!(printed.lines().all(|line| !line.starts_with("error: forged")), "{what}: {printed}");
    assert!(printed.contains("forged"), "{what}: the value is told: {printed}");
}

#[test]
fn arguments_are_told_without_what_a_terminal_obeys() {
    let shop = Shop::new();
    let url = format!("http://a/{HOSTILE}");
    let subject = format!("O={HOSTILE}");
    for args in [
        &["issue", "--ca", "ca", "--device-id", "a", "--out", "out", "--subject", subject.as_str()]
            as &[&str],
        &["issue", "--ca", "ca", "--device-id", "a", "--out", "out", "--subject", HOSTILE],
        &["issue", "--ca", "ca", "--device-id", "a", "--out", "out", "--profile", HOSTILE],
        &["issue", "--ca", HOSTILE, "--device-id", "a", "--out", "out"],
        &["ca", "init", "new", "--crl-url", url.as_str()],
        &["ca", "init", "new", "--subject", HOSTILE],
        &["ca", "policy", "ca", "--extended-key-usages", HOSTILE],
        &["ca", "policy", "ca", "--extensions", HOSTILE],
        &["find", "--ca", "ca", "--serial", HOSTILE],
        &["show", HOSTILE],
        &["verify", HOSTILE, "--ca", "ca"],
        &["sign", HOSTILE, "--ca", "ca", "--out", "out"],
    ] {
        check(&shop.run_args(args), &args.join(" "));
    }
    assert!(!shop.path("out").exists() && !shop.path("new").exists());
}

#[test]
fn cells_and_profiles_are_told_without_what_a_terminal_obeys() {
    let shop = Shop::new();
    let cell = "\"x\u{1b}[2J\nerror: forged\"";
    let toml = "x\\u001b[2J\\nerror: forged";
    let values = |key: &str, value: &str| format!("[a]\n{key} = {value}\n");
    for (profile, batch) in [
        (values("subject", "\"O={{ x_v }}\""), format!("device_id,profile,x_v\nd,a,{cell}\n")),
        (values("san", "{ dns = [\"{{ x_v }}\"] }"), format!("device_id,profile,x_v\nd,a,{cell}\n")),
        (values("san", "{ uri = [\"urn:{{ x_v }}\"] }"), format!("device_id,profile,x_v\nd,a,{cell}\n")),
        (values("san", "{ ip = [\"{{ x_v }}\"] }"), format!("device_id,profile,x_v\nd,a,{cell}\n")),
        (values("days", "3"), format!("device_id,profile\nd,{cell}\n")),
        (values("subject", &format!("\"{toml}\"")), "device_id,profile\nd,a\n".to_owned()),
        (values("subject", &format!("\"O={{{{ {toml}\"")), "device_id,profile\nd,a\n".to_owned()),
        (values("san", &format!("{{ dns = [\"{toml}\"] }}")), "device_id,profile\nd,a\n".to_owned()),
        (values("san", &format!("{{ uri = [\"urn:{toml}\"] }}")), "device_id,profile\nd,a\n".to_owned()),
        (
            values("extended_key_usages", &format!("[\"clientAuth\", \"{toml}\"]")),
            "device_id,profile\nd,a\n".to_owned(),
        ),
        (
            values("crl_distribution_points", &format!("[\"http://a/{toml}\"]")),
            "device_id,profile\nd,a\n".to_owned(),
        ),
        (
            values("extensions", &format!("[{{ oid = \"{toml}\", utf8 = \"a\" }}]")),
            "device_id,profile\nd,a\n".to_owned(),
        ),
        (
            values("extensions", "[{ oid = \"1.3.6.1.4.1.55555.1\", ia5 = \"{{ x_v }}\" }]"),
            format!("device_id,profile,x_v\nd,a,{cell}\n"),
        ),
        (values("not_after", &format!("\"{toml}\"")), "device_id,profile\nd,a\n".to_owned()),
    ] {
        shop.write("ca/profile.toml", &profile);
        shop.write("batch.csv", &batch);
        let said = shop.run("issue --ca ca --from batch.csv --out out");
        assert_ne!(said.code, 0, "{profile}{batch}");
        let printed = format!("{}{}", said.out, said.err);
        assert!(!printed.contains('\u{1b}'), "{profile}{batch}: {printed:?}");
        assert!(
            printed.lines().all(|line| !line.starts_with("error: forged")),
            "{profile}{batch}: {printed}"
        );
    }
}

#[test]
fn what_is_no_batch_is_told_with_a_line_for_each_problem() {
    let shop = Shop::new();
    for (name, text) in [("header.csv", "name\nx\n"), ("empty.csv", ""), ("quote.csv", "device_id\n\"a\n")] {
        shop.write(name, text);
        for verb in ["issue --ca ca --out out --from", "csr --out requests --from"] {
            let said = shop.run(&format!("{verb} {name}"));
            assert!(said.code != 0 && said.err.contains(name), "{}", said.err);
            assert!(!said.err.contains("<U+"), "{}", said.err);
        }
    }
    let said = shop.fails(2, "issue --ca ca --from header.csv --out out");
    assert!(said.lines().any(|line| line.starts_with("header.csv:1: column name:")), "{said}");
}
