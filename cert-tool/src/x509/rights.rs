//! Object identifiers by which Windows and Kerberos give rights. A certificate with one could open the account
//! of a user or a computer, so no profile makes one, and nobody has to know all of them.

use pkcs8::der::asn1::ObjectIdentifier;

/// Returns what an identifier gives rights for; `None` if it gives none that are known.
pub(crate) fn right_of(oid: ObjectIdentifier) -> Option<&'static str> {
    let oid = oid.to_string();
    let is_in =
        |arc: &str| oid.strip_prefix(arc).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    Some(match oid.as_str() {
        "1.3.6.1.4.1.311.20.2.2" => "the smart card logon of Windows",
        "1.3.6.1.4.1.311.20.2.1" => "an enrolment agent of Windows, who requests certificates for others",
        "1.3.6.1.4.1.311.20.2.3" => "the user principal name, by which Windows finds an account",
        "1.3.6.1.4.1.311.20.2" | "1.3.6.1.4.1.311.21.7" => "a certificate template of Windows",
        "1.3.6.1.4.1.311.21.5" => "the exchange certificate of a CA of Windows",
        "1.3.6.1.4.1.311.21.6" => "the key recovery agent of Windows",
        "1.3.6.1.4.1.311.21.10" => "the application policies, which Windows weighs as the extended key usage",
        "1.3.6.1.4.1.311.25.2" => "the security identifier, by which Windows gives the rights of an account",
        "1.3.6.1.5.2.3.4" => "a client of Kerberos (PKINIT)",
        "1.3.6.1.5.2.3.5" => "a key distribution centre of Kerberos (PKINIT)",
        "2.5.29.37.0" => "any purpose",
        _ if is_in("1.3.6.1.4.1.311") => "one of Microsoft's, by which Windows gives rights",
        _ if is_in("1.3.6.1.5.2") => "one of Kerberos, which gives the rights of an account",
        _ if is_in("2.23.133.8") => "one of TPMs and platforms, for which their makers vouch",
        _ => return None,
    })
}

/// Returns the reason why a URI may not be an alternative name, if there is one. Windows reads the security
/// identifier of an account from a URI, too (KB5014754).
pub(crate) fn right_of_uri(uri: &str) -> Option<&'static str> {
    let decoded = percent_encoding::percent_decode_str(uri).decode_utf8_lossy().to_ascii_lowercase();
    decoded
        .starts_with("tag:microsoft.com,")
        .then_some("the security identifier, by which Windows gives the rights of an account")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_below_an_arc_of_rights_gives_rights() {
        let right = |oid: &str| right_of(oid.parse().unwrap());
        for oid in [
            "1.3.6.1.4.1.311.20.2",
            "1.3.6.1.4.1.311.10.12.1",
            "1.3.6.1.4.1.311.10.3.4.1",
            "1.3.6.1.4.1.311.25.1",
            "1.3.6.1.4.1.311.21.11",
            "1.3.6.1.5.2.2",
            "1.3.6.1.5.2.3.5",
            "2.23.133.8.3",
            "2.5.29.37.0",
        ] {
            assert!(right(oid).is_some(), "{oid}");
        }
        // The beginning of a number is not an arc.
        for oid in
            ["1.3.6.1.4.1.3111.1", "1.3.6.1.4.1.55555.1", "2.23.133.5.4.1", "2.23.133.81", "1.3.6.1.5.21"]
        {
            assert_eq!(right(oid), None, "{oid}");
        }
    }

    #[test]
    fn the_uri_of_an_account_is_known_in_any_spelling() {
        for uri in [
            "tag:microsoft.com,2022-09-14:sid:S-1-5-21-1",
            "TAG:Microsoft.COM,2022-09-14:sid:S-1",
            "tag:%6Dicrosoft.com,2022-09-14:sid:S-1",
        ] {
            assert!(right_of_uri(uri).is_some(), "{uri}");
        }
        assert_eq!(right_of_uri("tag:acme.example,2026:pump"), None);
    }
}
