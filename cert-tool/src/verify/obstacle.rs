//! The place where a path to a trusted certificate ends, and why: the validator tells only that
//! there is none.

use super::Verification;
use crate::x509::certificate::Certificate;
use crate::x509::name;
use crate::x509::signed_by::{SignatureFault, signature_fault};

/// Goes up from a certificate as far as signatures lead; `None` where they lead to a trusted
/// certificate.
pub(super) fn find(certificate: &Certificate, by: &Verification<'_>) -> Option<String> {
    let mut below = certificate;
    for _ in 0..MOST_STEPS {
        let issuers = issuers_of(below, by);
        let Some((first, _)) = issuers.first() else {
            return Some(format!("no trusted certificate for the issuer {}", below.issuer()));
        };
        let judged: Vec<_> =
            issuers.iter().map(|(one, trusted)| (signature_fault(below, one), *one, *trusted)).collect();
        if judged.iter().any(|(fault, _, is_trusted)| fault.is_none() && *is_trusted) {
            return None;
        }
        match judged.iter().find(|(fault, ..)| fault.is_none()) {
            Some((_, above, _)) if *above != below => below = above,
            // A root that is given but not trusted.
            Some(_) => return Some(format!("no trusted certificate for the issuer {}", below.issuer())),
            None => {
                let named = judged.iter().find_map(|(fault, ..)| match fault {
                    Some(SignatureFault::NotVerified(text)) => Some(text.clone()),
                    _ => None,
                });
                return Some(named.unwrap_or_else(|| other_key(below, first, issuers.len())));
            }
        }
    }
    None
}

/// Certificates with the name of another's issuer, and whether each is trusted.
fn issuers_of<'a>(below: &Certificate, by: &'a Verification<'_>) -> Vec<(&'a Certificate, bool)> {
    let lower = below.parsed();
    let trusted = by.trusted.iter().map(|one| (one, true));
    let all = trusted.chain(by.between.iter().map(|one| (one, false)));
    all.filter(|(one, is_trusted)| {
        (*is_trusted || *one != below) && name::is_equal(lower.issuer(), one.parsed().subject())
    })
    .collect()
}

fn other_key(below: &Certificate, above: &Certificate, count: usize) -> String {
    let (below, above) = (below.subject(), above.subject());
    let candidates = match count {
        1 => format!("the key of the {above} that is given"),
        count => format!("any key of the {count} certificates of {above} that are given"),
    };
    format!("{below} is not signed with {candidates}: its issuer has a different key, or it was altered")
}

/// More than the validator goes.
const MOST_STEPS: usize = 10;
