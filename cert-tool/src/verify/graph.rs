//! The graph of issuers: who can have signed whom, and the paths from a certificate to a trusted one.
//!
//! The validator's own search tries every order of certificates whose names fit, so CAs that sign one
//! another cost it minutes. Here, each pair of certificates is looked at once: an issuer is above a
//! certificate if the names fit and the signature is one with its key, and only issuers from which a
//! trusted certificate can be reached are followed. The number of signatures, steps and paths is
//! bounded, as in the libraries of Go and Mozilla.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::ControlFlow;

use x509_parser::certificate::X509Certificate;

use super::comparable::{Memory, Signed};
use super::path::Path;
use crate::x509::certificate::Certificate;
use crate::x509::name::comparable;

/// A certificate in the graph.
#[derive(Debug)]
pub(super) struct Node<'a> {
    der: &'a [u8],
    subject: Vec<u8>,
    issuer: Vec<u8>,
    key_info: &'a [u8],
}

impl<'a> Node<'a> {
    pub(super) fn new(certificate: &'a Certificate, parsed: &X509Certificate<'_>) -> Self {
        Self {
            der: certificate.der(),
            subject: comparable(parsed.subject()),
            issuer: comparable(parsed.issuer()),
            key_info: certificate.public_key_info(),
        }
    }

    fn is_same_authority(&self, other: &Self) -> bool {
        self.subject == other.subject && self.key_info == other.key_info
    }
}

/// What is directly above a certificate, as places among the anchors and the other issuers.
#[derive(Debug, Default, Clone)]
struct Above {
    anchors: Vec<usize>,
    issuers: Vec<usize>,
}

/// The issuers, and what is above each.
#[derive(Debug)]
pub(super) struct Graph<'a> {
    anchors: Vec<Node<'a>>,
    issuers: Vec<Node<'a>>,
    by_subject: HashMap<Vec<u8>, Above>,
    above: Vec<Above>,
    /// The smallest number of issuers from each to an anchor, with itself; `None` where no anchor can
    /// be reached.
    distance: Vec<Option<usize>>,
}

/// The end of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SearchEnd {
    /// Every path was visited, or the visitor has ended the search.
    Complete,
    /// The shortest path has more issuers than the validator follows.
    TooLong,
    /// There are more paths than are visited.
    GivenUp,
}

impl<'a> Graph<'a> {
    /// Finds the issuers from which an anchor can be reached, from the anchors down.
    pub(super) fn new(anchors: Vec<Node<'a>>, issuers: Vec<Node<'a>>, signed: &Signed) -> Self {
        let mut by_subject: HashMap<Vec<u8>, Above> = HashMap::new();
        for (place, anchor) in anchors.iter().enumerate() {
            by_subject.entry(anchor.subject.clone()).or_default().anchors.push(place);
        }
        let mut by_issuer: HashMap<&[u8], Vec<usize>> = HashMap::new();
        let mut seen = HashSet::new();
        for (place, issuer) in issuers.iter().enumerate().filter(|(_, issuer)| seen.insert(issuer.der)) {
            by_subject.entry(issuer.subject.clone()).or_default().issuers.push(place);
            by_issuer.entry(&issuer.issuer).or_default().push(place);
        }
        let mut above = vec![Above::default(); issuers.len()];
        let mut distance = vec![None; issuers.len()];
        let mut open: VecDeque<Parent> = (0..anchors.len()).map(Parent::Anchor).collect();
        let mut checks = SignatureChecks::new(signed, Memory::Kept);
        while let Some(parent) = open.pop_front() {
            let upper = match parent {
                Parent::Anchor(place) => anchors.get(place),
                Parent::Issuer(place) => issuers.get(place),
            };
            let Some(upper) = upper else { continue };
            for place in by_issuer.get(upper.subject.as_slice()).into_iter().flatten().copied() {
                let (Some(lower), Some(found)) = (issuers.get(place), above.get_mut(place)) else { continue };
                let is_only_one =
                    by_subject.get(&lower.issuer).is_some_and(|it| it.anchors.len() + it.issuers.len() == 1);
                if lower.is_same_authority(upper) || !(is_only_one || checks.allow(lower, upper)) {
                    continue;
                }
                let below_parent = match parent {
                    Parent::Anchor(anchor) => {
                        found.anchors.push(anchor);
                        1
                    }
                    Parent::Issuer(issuer) => {
                        found.issuers.push(issuer);
                        distance.get(issuer).copied().flatten().unwrap_or_default() + 1
                    }
                };
                // The nearest parents come first, so the first distance is the smallest.
                if let Some(own @ None) = distance.get_mut(place) {
                    *own = Some(below_parent);
                    open.push_back(Parent::Issuer(place));
                }
            }
        }
        Self { anchors, issuers, by_subject, above, distance }
    }

    /// Visits the paths from a certificate to an anchor, the shortest first, until the visitor breaks.
    pub(super) fn visit(
        &self,
        leaf: &Node<'_>,
        signed: &Signed,
        mut visitor: impl FnMut(Path) -> ControlFlow<()>,
    ) -> SearchEnd {
        let above = self.above_leaf(leaf, signed);
        let nearest = above.issuers.iter().filter_map(|place| self.distance_of(*place)).min();
        if above.anchors.is_empty() && nearest.is_some_and(|nearest| nearest > MOST_ISSUERS) {
            return SearchEnd::TooLong;
        }
        let mut walk = Walk { steps: 0, paths: 0, is_given_up: false, visitor: &mut visitor };
        for length in 0..=MOST_ISSUERS {
            if self.extend(&mut Vec::new(), &above, length, leaf, &mut walk).is_break() {
                break;
            }
        }
        if walk.is_given_up { SearchEnd::GivenUp } else { SearchEnd::Complete }
    }

    /// Follows the paths that have a number of issuers more than this one.
    fn extend(
        &self,
        path: &mut Vec<usize>,
        above: &Above,
        more: usize,
        leaf: &Node<'_>,
        walk: &mut Walk<'_>,
    ) -> ControlFlow<()> {
        if more == 0 {
            for anchor in &above.anchors {
                walk.path(Path { issuers: path.clone(), anchor: *anchor })?;
            }
            return ControlFlow::Continue(());
        }
        for place in &above.issuers {
            let (Some(issuer), Some(next)) = (self.issuers.get(*place), self.above.get(*place)) else {
                continue;
            };
            if self.distance_of(*place).is_none_or(|distance| distance > more) {
                continue;
            }
            walk.step()?;
            // The same CA does not stand twice on a path (RFC 4158 §5.2).
            let mut before = path.iter().filter_map(|place| self.issuers.get(*place));
            if issuer.is_same_authority(leaf) || before.any(|other| issuer.is_same_authority(other)) {
                continue;
            }
            path.push(*place);
            self.extend(path, next, more - 1, leaf, walk)?;
            path.pop();
        }
        ControlFlow::Continue(())
    }

    fn above_leaf(&self, leaf: &Node<'_>, signed: &Signed) -> Above {
        let Some(named) = self.by_subject.get(&leaf.issuer) else { return Above::default() };
        if named.anchors.len() + named.issuers.len() == 1 {
            return named.clone();
        }
        let mut checks = SignatureChecks::new(signed, Memory::Dropped);
        let mut judged: HashMap<&[u8], bool> = HashMap::new();
        let mut is_above = |upper: Option<&Node<'a>>| {
            upper.is_some_and(|upper| {
                *judged.entry(upper.key_info).or_insert_with(|| checks.allow(leaf, upper))
            })
        };
        let anchors =
            named.anchors.iter().copied().filter(|place| is_above(self.anchors.get(*place))).collect();
        let reaching = named.issuers.iter().copied().filter(|place| self.distance_of(*place).is_some());
        let issuers = reaching.filter(|place| is_above(self.issuers.get(*place))).collect();
        Above { anchors, issuers }
    }

    fn distance_of(&self, place: usize) -> Option<usize> {
        self.distance.get(place).copied().flatten()
    }
}

/// A certificate whose lower ones are sought.
#[derive(Debug, Clone, Copy)]
enum Parent {
    Anchor(usize),
    Issuer(usize),
}

/// The walk along paths, with its bounds.
struct Walk<'a> {
    steps: usize,
    paths: usize,
    is_given_up: bool,
    visitor: &'a mut dyn FnMut(Path) -> ControlFlow<()>,
}

impl Walk<'_> {
    fn step(&mut self) -> ControlFlow<()> {
        self.steps += 1;
        self.within(self.steps <= MOST_STEPS)
    }

    fn path(&mut self, path: Path) -> ControlFlow<()> {
        self.paths += 1;
        self.within(self.paths <= MOST_PATHS)?;
        (self.visitor)(path)
    }

    fn within(&mut self, is_within: bool) -> ControlFlow<()> {
        self.is_given_up |= !is_within;
        if is_within { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

/// Checks of signatures, with a bound: beyond it, names alone decide, and the validator finds a wrong
/// signature.
struct SignatureChecks<'a> {
    signed: &'a Signed,
    memory: Memory,
    left: usize,
}

impl<'a> SignatureChecks<'a> {
    fn new(signed: &'a Signed, memory: Memory) -> Self {
        Self { signed, memory, left: MOST_SIGNATURES }
    }

    /// Returns false if a certificate is not signed with the key of a different one.
    fn allow(&mut self, lower: &Node<'_>, upper: &Node<'_>) -> bool {
        let Some(left) = self.left.checked_sub(1) else { return true };
        self.left = left;
        self.signed.is_possible(lower.der, upper.key_info, self.memory)
    }
}

/// The largest number of issuers that the validator follows.
const MOST_ISSUERS: usize = 6;
/// Paths that are judged. Go and webpki verify 100 signatures.
const MOST_PATHS: usize = 200;
/// Issuers that are tried; the search takes some milliseconds.
const MOST_STEPS: usize = 100_000;
/// Signatures of the given issuers that are verified to find their order.
const MOST_SIGNATURES: usize = 10_000;
