//! The path from the certificate to a trusted one: the paths of the graph of issuers, what rustls-webpki says of each,
//! and which is the best.

use std::ops::ControlFlow;
use std::time::Duration;

use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use time::OffsetDateTime;
use webpki::{EndEntityCert, Error, ExtendedKeyUsageValidator, KeyPurposeIdIter, RevocationOptions};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use super::comparable::{Copy, Signed, Spelling, copy_leaf};
use super::crls::{List, Named};
use super::graph::{Graph, Node, SearchEnd};
use super::issuers::{self, Issuer};
use super::profile::PathPosition;
use super::{Check, CheckName, Verification, crls, obstacle, words};
use crate::x509::certificate::Certificate;

/// All that paths are sought with, read once for all certificates.
pub(super) struct Paths<'a> {
    trusted: Vec<Issuer<'a>>,
    between: Vec<Issuer<'a>>,
    /// The trusted ones that can be the end of a path, each with its place among `trusted`.
    anchors: Vec<TrustAnchor<'static>>,
    anchor_places: Vec<usize>,
    copies: Vec<CertificateDer<'static>>,
    graph: Graph<'a>,
    pub(super) lists: Vec<List>,
    spelling: Spelling,
    signed: Signed,
}

impl<'a> Paths<'a> {
    pub(super) fn new(by: &Verification<'a>) -> Self {
        let spelling = spelling_of(by);
        let mut signed = Signed::default();
        let mut all = |many: &'a [Certificate], place| -> Vec<_> {
            many.iter().map(|one| Issuer::read(one, place, (&spelling, &mut signed), by)).collect()
        };
        let (trusted, between) =
            (all(by.trusted, PathPosition::Trusted), all(by.between, PathPosition::Issuer));
        let lists = by.crls.iter().map(|list| List::read(list, (&spelling, &mut signed), by)).collect();
        // What can't be an anchor can't be trusted; the others still can.
        let anchors = trusted.iter().enumerate().filter_map(|(place, one)| Some((place, one.anchor()?)));
        let (anchor_places, anchors): (Vec<_>, Vec<_>) = anchors.unzip();
        let anchor_nodes = anchor_places.iter().filter_map(|place| trusted.get(*place)).map(Issuer::node);
        let graph = Graph::new(anchor_nodes.collect(), between.iter().map(Issuer::node).collect(), &signed);
        let copies = between.iter().map(|one| one.copy.clone()).collect();
        Self { trusted, between, anchors, anchor_places, copies, graph, lists, spelling, signed }
    }

    /// Looks at everything that needs the certificates above a certificate.
    pub(super) fn checks(
        &self,
        (certificate, parsed): (&Certificate, &X509Certificate<'_>),
        by: &Verification<'_>,
    ) -> Vec<Check> {
        let copy = copy_leaf(certificate.der(), &self.spelling);
        let search = Search {
            paths: self,
            leaf: CertificateDer::from(copy.as_ref().map_or_else(|| certificate.der(), |copy| &copy.der)),
            copy: copy.as_ref(),
            moment: moment(certificate, by.at),
        };
        let found = search.best((certificate, parsed));
        let mut checks = vec![
            Check::new(CheckName::Chain, self.chain_fault(&found, (certificate, parsed), by)),
            Check {
                advice: found
                    .as_ref()
                    .ok()
                    .and_then(|(path, _)| self.name_advice(path, (certificate, parsed))),
                ..Check::new(CheckName::NameConstraints, self.name_fault(&found, parsed))
            },
        ];
        if let Err(error @ (Error::CertExpired { .. } | Error::CertNotValidYet { .. })) = &found {
            checks.push(Check::new(CheckName::Dates, Some(words::of(error))));
        }
        if !by.crls.is_empty() {
            checks.push(match &found {
                Ok((path, _)) => crls::check(&search, path, &self.names((certificate, parsed), path)),
                Err(_) => {
                    let fault = "not known, because the chain is not good".to_owned();
                    Check::new(CheckName::Revocation, Some(fault))
                }
            });
        }
        checks.extend(found.into_iter().flat_map(|(_, faults)| faults));
        checks
    }

    fn chain_fault(
        &self,
        found: &PathResult,
        (certificate, parsed): (&Certificate, &X509Certificate<'_>),
        by: &Verification<'_>,
    ) -> Option<String> {
        let error = found.as_ref().err()?;
        Some(match error {
            Error::UnknownIssuer
            | Error::InvalidSignatureForPublicKey
            | Error::UnsupportedSignatureAlgorithmContext(_)
            | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
                let led = "its signatures lead to a trusted certificate, but on each way there a CA does not allow a \
                           name, or a certificate can't be used";
                obstacle::find(certificate, by).unwrap_or_else(|| led.to_owned())
            }
            Error::NameConstraintViolation => self.forbidden_name(parsed).unwrap_or_else(|| words::of(error)),
            _ => words::of(error),
        })
    }

    fn name_fault(&self, found: &PathResult, parsed: &X509Certificate<'_>) -> Option<String> {
        match found {
            Err(error @ Error::NameConstraintViolation) => {
                Some(self.forbidden_name(parsed).unwrap_or_else(|| words::of(error)))
            }
            Err(error @ (Error::MalformedNameConstraint | Error::InvalidNetworkMaskConstraint)) => {
                Some(words::of(error))
            }
            _ => None,
        }
    }

    /// The common name that an issuer on the path forbids for those who take it for a DNS name.
    fn name_advice(
        &self,
        path: &Path,
        (certificate, parsed): (&Certificate, &X509Certificate<'_>),
    ) -> Option<String> {
        let between = path.issuers.iter().filter_map(|place| self.between.get(*place));
        let anchor = self.anchor_places.get(path.anchor).and_then(|place| self.trusted.get(*place));
        let above = between.chain(anchor.filter(|anchor| anchor.certificate != certificate));
        above.into_iter().find_map(|issuer| issuer.fault_of_common_names(parsed))
    }

    /// The name that an issuer forbids, and the issuer.
    fn forbidden_name(&self, leaf: &X509Certificate<'_>) -> Option<String> {
        issuers::forbidden_name(leaf, &self.between.iter().chain(&self.trusted).collect::<Vec<_>>())
    }

    /// Issuer and serial number of each certificate on a path.
    fn names(&self, (certificate, parsed): (&Certificate, &X509Certificate<'_>), path: &Path) -> Vec<Named> {
        let above = path.issuers.iter().filter_map(|place| self.between.get(*place)).map(Issuer::named);
        std::iter::once(Named::of(certificate, parsed)).chain(above).collect()
    }
}

/// The names of all certificates and lists that are given.
fn spelling_of(by: &Verification<'_>) -> Spelling {
    let mut spelling = Spelling::default();
    for one in by.trusted.iter().chain(by.between) {
        let parsed = one.parsed();
        spelling.see(parsed.subject());
        spelling.see(parsed.issuer());
    }
    for list in by.crls {
        if let Ok((_, parsed)) = CertificateRevocationList::from_der(list) {
            spelling.see(parsed.issuer());
        }
    }
    spelling
}

/// The search for the paths of one certificate.
pub(super) struct Search<'a> {
    pub(super) paths: &'a Paths<'a>,
    leaf: CertificateDer<'a>,
    copy: Option<&'a Copy>,
    moment: UnixTime,
}

/// The places of the issuers on a path, from the leaf's issuer up, and that of the anchor.
#[derive(Debug)]
pub(super) struct Path {
    pub(super) issuers: Vec<usize>,
    pub(super) anchor: usize,
}

impl Search<'_> {
    /// The path of which there is least to say; with none, why.
    ///
    /// The first path may not be the best: the trusted certificate may be there twice, expired and
    /// renewed, or an issuer with and without the right to issue.
    fn best(&self, leaf: (&Certificate, &X509Certificate<'_>)) -> Result<(Path, Vec<Check>), Error> {
        let mut best: Option<(Path, Vec<Check>)> = None;
        let mut error = None;
        let node = Node::new(leaf.0, leaf.1);
        let end = self.paths.graph.visit(&node, &self.paths.signed, |path| {
            match self.judge(&path, leaf) {
                Err(found) => error = error.take().or(Some(found)),
                Ok(faults) => {
                    let is_good = faults.is_empty();
                    if best.as_ref().is_none_or(|(_, other)| weight(&faults) < weight(other)) {
                        best = Some((path, faults));
                    }
                    if is_good {
                        return ControlFlow::Break(());
                    }
                }
            }
            ControlFlow::Continue(())
        });
        let is_given_up = end == SearchEnd::GivenUp;
        match best {
            Some((path, mut faults)) => {
                if is_given_up && weight(&faults).0 > 0 {
                    let text = words::of(&Error::MaximumPathBuildCallsExceeded);
                    faults.push(Check::new(CheckName::Chain, Some(text)));
                }
                Ok((path, faults))
            }
            None if is_given_up => Err(Error::MaximumPathBuildCallsExceeded),
            None if end == SearchEnd::TooLong => Err(Error::MaximumPathDepthExceeded),
            None => {
                Err(error.unwrap_or_else(|| self.run((&[], &[]), None).err().unwrap_or(Error::UnknownIssuer)))
            }
        }
    }

    /// Returns the faults of a path and the advice on it; an error where the validator refuses it.
    fn judge(&self, path: &Path, leaf: (&Certificate, &X509Certificate<'_>)) -> Result<Vec<Check>, Error> {
        self.go(path, None)?;
        let above: Vec<_> = path.issuers.iter().filter_map(|place| self.paths.between.get(*place)).collect();
        let place = self.paths.anchor_places.get(path.anchor).ok_or(Error::UnknownIssuer)?;
        let anchor = self.paths.trusted.get(*place).ok_or(Error::UnknownIssuer)?;
        Ok(issuers::checks(leaf, &above, anchor))
    }

    /// Goes a path again, with revocation lists.
    pub(super) fn revocation(&self, path: &Path, options: RevocationOptions<'_>) -> Result<(), Error> {
        self.go(path, Some(options))
    }

    /// Has the validator go a path.
    fn go(&self, path: &Path, revocation: Option<RevocationOptions<'_>>) -> Result<(), Error> {
        let anchor = self.paths.anchors.get(path.anchor).ok_or(Error::UnknownIssuer)?;
        let copies = path.issuers.iter().filter_map(|place| self.paths.copies.get(*place));
        let between: Vec<_> = copies.map(|copy| CertificateDer::from(copy.as_ref())).collect();
        self.run((std::slice::from_ref(anchor), &between), revocation)
    }

    fn run(
        &self,
        (anchors, between): (&[TrustAnchor<'_>], &[CertificateDer<'_>]),
        revocation: Option<RevocationOptions<'_>>,
    ) -> Result<(), Error> {
        let leaf = EndEntityCert::try_from(&self.leaf)?;
        let algorithms = self.paths.signed.algorithms(self.copy);
        let algorithms: Vec<_> =
            algorithms.iter().map(|one| one as &dyn SignatureVerificationAlgorithm).collect();
        leaf.verify_for_usage(&algorithms, anchors, between, self.moment, AnyUsage, revocation, None)?;
        Ok(())
    }
}

/// Usage is looked at apart, so that a wrong one does not hide what else is wrong.
struct AnyUsage;

impl ExtendedKeyUsageValidator for AnyUsage {
    fn validate(&self, _: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        Ok(())
    }
}

/// The number of faults, and of faults with advice.
fn weight(checks: &[Check]) -> (usize, usize) {
    (checks.iter().filter(|check| check.fault.is_some()).count(), checks.len())
}

type PathResult = Result<(Path, Vec<Check>), Error>;

/// Expired is one fault, not two: the path is then judged as of when the certificate was good.
fn moment(certificate: &Certificate, at: OffsetDateTime) -> UnixTime {
    let (from, until) = (certificate.not_before(), certificate.not_after());
    let seconds = at.clamp(from, until.max(from)).unix_timestamp();
    UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(seconds).unwrap_or_default()))
}

#[cfg(test)]
mod tests;
