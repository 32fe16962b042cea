//! `cert-tool man` and `cert-tool completions`.

use crate::support::Shop;

#[test]
fn every_verb_has_a_page_and_every_option_is_on_it() {
    let shop = Shop::new();
    shop.ok("man pages");
    for (page, told) in [
        ("cert-tool.1", "cert\\-tool"),
        ("cert-tool-ca-init.1", "\\-\\-pkcs11"),
        ("cert-tool-sign.1", "\\-\\-expect"),
    ] {
        let text = std::fs::read_to_string(shop.path("pages").join(page)).unwrap();
        assert!(text.contains(told), "{page}: {text}");
    }
}

#[test]
fn the_guide_names_every_verb() {
    let shop = Shop::new();
    shop.ok("man pages");
    let guide = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cert-tool.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let pages = std::fs::read_dir(shop.path("pages")).unwrap().map(|page| page.unwrap().file_name());
    let mut verbs: Vec<_> = pages
        .filter_map(|page| Some(page.to_str()?.strip_prefix("cert-tool-")?.strip_suffix(".1")?.to_owned()))
        .filter(|verb| verb != "ca" && !verb.ends_with("help"))
        .map(|verb| verb.strip_prefix("ca-").map_or_else(|| verb.clone(), |verb| format!("ca {verb}")))
        .collect();
    verbs.sort();
    assert!(verbs.len() > 20, "{verbs:?}");
    for verb in verbs {
        assert!(guide.contains(&format!("`{verb}`")), "`{verb}` is not in docs/cert-tool.md");
    }
}

#[test]
fn completions_are_what_the_shell_takes() {
    let shop = Shop::new();
    let script = shop.ok("completions bash");
    assert!(script.contains("--passphrase-file") && script.contains("thumbprint"));
    shop.write("completions", &script);
    let output = std::process::Command::new("bash").arg("-n").arg(shop.path("completions")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(shop.fails(2, "completions csh").contains("possible values"));
}
