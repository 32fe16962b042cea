//! [`issue_batch`]: certificates for many identities, on all cores, in order, in bounded memory.
//!
//! The caller's thread takes requests, hands them out in portions, takes the results back in the same
//! order and writes them; workers make keys and sign. A portion's result comes through a channel of
//! its own, so a queue of channels keeps the order and its length bounds the memory.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use hub_types::IdentityId;

use crate::ca::CertificateAuthority;
use crate::error::Error;
use crate::error::refusal::Refusal;
use crate::issue::key_source::{KeySource, key_in};
use crate::issue::prepared_profiles::PreparedProfiles;
use crate::issue::request::{Existing, IssueOptions, IssueRequest, IssueSummary, Issued, Outcome};
use crate::issue::store::IssuedStore;
use crate::issue::worker::{IssueJob, UnsignedCertificate, Worker};
use crate::issued::index::IndexEntry;
use crate::issued::index::revocation::Revocation;
use crate::issued::new_certificate::NewCertificate;
use crate::keys::fingerprint::Fingerprint;
use crate::keys::private::KeyType;
use crate::keys::public::PublicKeyInput;
use crate::platform::parallel::thread_count;
use crate::policy::Policy;
use crate::x509::certificate::read_certificate;
use crate::x509::encoder::Serial;

/// Issues what is not in the store yet, and tells of every request, in order, when its certificate is
/// on the disk. It can be called again and again for the same store.
///
/// An error stops it; what it told of until then is certain.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (temporary, now) = (tempfile::tempdir()?, time::OffsetDateTime::now_utc());
/// # let ca = cert_tool::CertificateAuthority::init(&temporary.path().join("ca"), &Default::default(), now)?;
/// use cert_tool::{IssueOptions, IssueRequest, IssuedStore, KeySource, Outcome, Sink, issue_batch};
/// use hub_types::IdentityId;
///
/// let mut store = IssuedStore::open(&ca, &temporary.path().join("out"), Sink::Bundle)?;
/// let requests = ["pump-1", "pump-2"].map(|device| IdentityId::parse(device, None));
/// let requests = requests.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().map(|identity| {
///     IssueRequest::new(identity, KeySource::Generate)
/// });
/// let summary = issue_batch(&ca, &IssueOptions::new(now), requests, &mut store, &mut |issued| {
///     if let Outcome::Issued(record) = &issued.outcome {
///         println!("{} has {}", issued.identity, record.sha256);
///     }
/// })?;
/// assert_eq!(summary.issued, 2);
/// # Ok(())
/// # }
/// ```
pub fn issue_batch(
    ca: &CertificateAuthority,
    options: &IssueOptions,
    requests: impl Iterator<Item = IssueRequest> + Send,
    store: &mut IssuedStore,
    on_issued: &mut dyn FnMut(&Issued),
) -> Result<IssueSummary, Error> {
    store.belongs_to(ca)?;
    let prepared_profiles = PreparedProfiles::new(ca, options)?;
    let keys_of_cas = ca.keys_of_cas();
    let constraints = ca.name_constraints();
    let worker = Worker {
        ca,
        prepared_profiles: &prepared_profiles,
        key_type: options.key_type,
        long_names: options.long_names,
        keys_of_cas: &keys_of_cas,
        constraints: &constraints,
    };
    let threads = thread_count(options.threads);
    let sizes = PipelineSizes::of(options.key_type, threads);
    let (sender, receiver) = sync_channel(sizes.portions_ahead);
    let receiver = Mutex::new(receiver);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| work(worker, &receiver));
        }
        let pending = Pending::default();
        let existing = options.existing;
        let policy = ca.policy();
        let issued_or_pending = policy.max_certificates().map_or(Ok(0), |_| store.index().count())?;
        let writer = Writer {
            policy,
            issued_or_pending,
            existing,
            store,
            on_issued,
            pending,
            summary: IssueSummary::default(),
        };
        // The sender moves in, so that the workers end when the writer does.
        writer.run(requests, sender, sizes)
    })
}

/// Makes sure that a CA can issue as it is asked to, before anything is begun.
pub fn check_options(ca: &CertificateAuthority, options: &IssueOptions) -> Result<(), Error> {
    ca.check_is_not_revoked()?;
    PreparedProfiles::new(ca, options).map(|_| ())
}

type Portion = Vec<Task>;
type Results = Result<Vec<IssueResult>, Error>;

struct WorkItem {
    portion: Portion,
    results: Sender<Results>,
}

enum Task {
    /// It has a certificate, or is further up in this call.
    Known(IssueRequest),
    Make(IssueJob),
    Refuse(IdentityId, Refusal),
}

#[expect(clippy::large_enum_variant, reason = "nearly all are of the largest variant")]
enum IssueResult {
    Known { identity: IdentityId, requested_key: Option<Result<Fingerprint, Refusal>> },
    Issued(NewCertificate),
    Refused { identity: IdentityId, refusal: Refusal, was_counted: bool },
}

fn work(worker: Worker<'_>, items: &Mutex<Receiver<WorkItem>>) {
    loop {
        // Nothing that could panic happens while it is locked.
        let item = items.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(WorkItem { portion, results }) = item else {
            return;
        };
        // Nobody listens when the writer has failed.
        let _ = results.send(do_portion(worker, portion));
    }
}

/// One kind of work after the other, not one certificate after the other: each kind, the signing of a token
/// above all, then finds its code and data in the caches.
fn do_portion(worker: Worker<'_>, portion: Portion) -> Results {
    let tasks = portion.into_iter().zip(Serial::random_many::<MAX_PORTION>()?);
    let unsigned =
        tasks.map(|(task, serial)| encode_tbs(worker, task, serial)).collect::<Result<Vec<_>, _>>()?;
    let mut signed = Vec::with_capacity(unsigned.len());
    for step in unsigned {
        signed.push(match step {
            Ok(unsigned) => Ok((worker.sign(&unsigned)?, unsigned)),
            Err(result) => Err(result),
        });
    }
    let finish = |(der, unsigned): (Vec<u8>, UnsignedCertificate<'_>)| {
        IssueResult::Issued(worker.finish(unsigned, &der))
    };
    Ok(signed.into_iter().map(|step| step.map(finish).unwrap_or_else(|result| result)).collect())
}

/// Builds the unsigned certificate for a task, or returns the task's outcome if nothing is to be
/// signed.
fn encode_tbs<'a>(
    worker: Worker<'a>,
    task: Task,
    serial: Serial,
) -> Result<Result<UnsignedCertificate<'a>, IssueResult>, Error> {
    Ok(match task {
        Task::Known(IssueRequest { identity, key, .. }) => {
            let requested_key = key_in(&identity, key);
            Err(IssueResult::Known { identity, requested_key })
        }
        Task::Make(job) => {
            let identity = job.request.identity.clone();
            let unsigned = worker.encode_tbs(job, serial)?;
            unsigned.map_err(|refusal| IssueResult::Refused { identity, refusal, was_counted: true })
        }
        Task::Refuse(identity, refusal) => {
            Err(IssueResult::Refused { identity, refusal, was_counted: false })
        }
    })
}

/// The caller's side.
struct Writer<'a> {
    policy: &'a Policy,
    /// The number of certificates that the CA has issued, with those under way.
    issued_or_pending: u64,
    existing: Existing,
    store: &'a mut IssuedStore,
    on_issued: &'a mut dyn FnMut(&Issued),
    pending: Pending,
    summary: IssueSummary,
}

/// The certificates that are not on the disk yet, and the outcomes to report once they are.
#[derive(Default)]
struct Pending {
    made: Vec<NewCertificate>,
    told: Vec<(IdentityId, PendingOutcome)>,
    owners: HashMap<Fingerprint, IdentityId>,
    handed_out: HashSet<IdentityId>,
}

enum PendingOutcome {
    Known { requested_key: Option<Result<Fingerprint, Refusal>> },
    Issued { not_copied: Vec<String> },
    Refused(Refusal),
}

impl Writer<'_> {
    fn run(
        mut self,
        mut requests: impl Iterator<Item = IssueRequest>,
        items: SyncSender<WorkItem>,
        sizes: PipelineSizes,
    ) -> Result<IssueSummary, Error> {
        let mut waiting = VecDeque::with_capacity(sizes.portions_ahead);
        loop {
            while waiting.len() < sizes.portions_ahead {
                let portion: Result<Portion, Error> =
                    requests.by_ref().take(sizes.portion).map(|request| self.task(request)).collect();
                let portion = portion?;
                if portion.is_empty() {
                    break;
                }
                let (results, receiver) = channel();
                items.send(WorkItem { portion, results }).map_err(|_| GONE)?;
                waiting.push_back(receiver);
            }
            let Some(next) = waiting.pop_front() else {
                break;
            };
            for result in next.recv().map_err(|_| GONE)?? {
                self.take(result)?;
            }
            if self.pending.told.len() >= sizes.commit_rows {
                self.commit()?;
            }
        }
        self.commit()?;
        self.store.finish(self.summary.refused > 0)?;
        Ok(self.summary)
    }

    fn task(&mut self, request: IssueRequest) -> Result<Task, Error> {
        match self.wanted(request)? {
            Task::Make(job) => Ok(match self.policy.refusal_after(self.issued_or_pending) {
                Some(refusal) => Task::Refuse(job.request.identity, refusal),
                None => {
                    self.issued_or_pending += 1;
                    Task::Make(job)
                }
            }),
            other => Ok(other),
        }
    }

    fn wanted(&mut self, request: IssueRequest) -> Result<Task, Error> {
        let is_first = self.pending.handed_out.insert(request.identity.clone());
        if !is_first {
            return Ok(Task::Known(request));
        }
        let is_renewal = matches!(self.existing, Existing::Renew | Existing::RenewSameKey);
        if !self.store.knows(&request.identity)? {
            return Ok(match is_renewal {
                true => Task::Refuse(request.identity, Refusal::NothingToRenew),
                false => {
                    Task::Make(IssueJob { request, replaced: None, key_elsewhere: None, previous: None })
                }
            });
        }
        match self.store.current(&request.identity)? {
            Some((entry, is_here)) if !is_here && self.existing != Existing::Refuse => {
                self.another(request, entry)
            }
            _ => Ok(Task::Known(request)),
        }
    }

    /// One more certificate for an identity that has one in another place.
    fn another(&self, request: IssueRequest, entry: IndexEntry) -> Result<Task, Error> {
        match entry.revocation.map(Revocation::refusal) {
            // A certificate that is revoked for good may be replaced; a hold would end without a word.
            Some(Refusal::Revoked) if self.existing == Existing::Replace => {}
            Some(refusal) => return Ok(Task::Refuse(request.identity, refusal)),
            None => {}
        }
        if self.store.has_here(&request.identity)? {
            return Ok(Task::Refuse(request.identity, Refusal::OlderIsThere));
        }
        if self.existing == Existing::Replace {
            return Ok(Task::Make(IssueJob { request, replaced: None, key_elsewhere: None, previous: None }));
        }
        let previous = Some(entry.record.certificate.clone());
        let job = |request, replaced, key_elsewhere| {
            Task::Make(IssueJob { request, replaced, key_elsewhere, previous })
        };
        let replaced = Some(entry.record.sha256);
        if self.existing == Existing::Renew {
            return Ok(job(request, replaced, None));
        }
        let certificate = read_certificate(&entry.record.certificate)?;
        let key = KeySource::PublicKey(PublicKeyInput::Info(certificate.public_key_info().to_vec()));
        Ok(job(IssueRequest { key, ..request }, replaced, entry.record.private_key))
    }

    fn take(&mut self, result: IssueResult) -> Result<(), Error> {
        let (identity, pending_outcome) = match result {
            IssueResult::Known { identity, requested_key } => {
                (identity, PendingOutcome::Known { requested_key })
            }
            IssueResult::Refused { identity, refusal, was_counted } => {
                self.issued_or_pending = self.issued_or_pending.saturating_sub(u64::from(was_counted));
                (identity, PendingOutcome::Refused(refusal))
            }
            IssueResult::Issued(mut made) => {
                let identity = made.identity.clone();
                match self.refusal(&made)? {
                    Some(refusal) => {
                        self.issued_or_pending = self.issued_or_pending.saturating_sub(1);
                        (identity, PendingOutcome::Refused(refusal))
                    }
                    None => {
                        let not_copied = std::mem::take(&mut made.not_copied);
                        self.pending.made.push(made);
                        (identity, PendingOutcome::Issued { not_copied })
                    }
                }
            }
        };
        self.pending.told.push((identity, pending_outcome));
        Ok(())
    }

    /// Returns the reason not to write a certificate that could be made, if there is one.
    fn refusal(&mut self, made: &NewCertificate) -> Result<Option<Refusal>, Error> {
        if made.is_requested() {
            let owner = match self.pending.owners.get(&made.key) {
                Some(owner) => Some(owner.clone()),
                None => self.store.owner_of(made.key)?,
            };
            if let Some(other) = owner.filter(|owner| *owner != made.identity) {
                return Ok(Some(Refusal::KeyOfAnother { other }));
            }
            if self.store.is_compromised(made.key)? {
                return Ok(Some(Refusal::CompromisedKey));
            }
            self.pending.owners.insert(made.key, made.identity.clone());
        }
        Ok(self.store.refusal(&made.identity))
    }

    fn commit(&mut self) -> Result<(), Error> {
        let made = std::mem::take(&mut self.pending.made);
        let record = if made.is_empty() { Vec::new() } else { self.store.commit(&made)? };
        let mut record = record.into_iter();
        self.pending.owners.clear();
        for (identity, pending_outcome) in std::mem::take(&mut self.pending.told) {
            // From here on the store knows it, or it was refused and may be asked for again.
            self.pending.handed_out.remove(&identity);
            let mut not_copied = Vec::new();
            let outcome = match pending_outcome {
                PendingOutcome::Issued { not_copied: beside } => {
                    not_copied = beside;
                    record.next().map_or(Outcome::Refused(Refusal::Repeated), Outcome::Issued)
                }
                PendingOutcome::Refused(refusal) => Outcome::Refused(refusal),
                PendingOutcome::Known { requested_key } => self.known(&identity, requested_key)?,
            };
            self.summary.count(&outcome);
            (self.on_issued)(&Issued { identity, outcome, not_copied });
        }
        Ok(())
    }

    /// Returns the outcome for an identity that the store knows already, or that an earlier request
    /// was for.
    fn known(
        &self,
        identity: &IdentityId,
        key: Option<Result<Fingerprint, Refusal>>,
    ) -> Result<Outcome, Error> {
        let Some((entry, is_here)) = self.store.current(identity)? else {
            return Ok(Outcome::Refused(Refusal::Repeated));
        };
        Ok(match (entry.refusal(is_here), key) {
            (Some(refusal @ (Refusal::Revoked | Refusal::OnHold)), _) => Outcome::Refused(refusal),
            (_, Some(Err(refusal))) | (Some(refusal), _) => Outcome::Refused(refusal),
            (None, Some(Ok(key))) if key != entry.key => Outcome::Refused(Refusal::AlreadyIssued),
            (None, None | Some(Ok(_))) => Outcome::AlreadyThere(entry.record),
        })
    }
}

/// The sizes of the steps in which requests are worked on.
#[derive(Clone, Copy)]
struct PipelineSizes {
    /// Requests handed to a worker together: few enough that all cores have something to do, enough
    /// that handing over costs nothing.
    portion: usize,
    /// Portions handed out and not taken back. The workers have something to do as long as a commit
    /// takes, disk and all.
    portions_ahead: usize,
    /// Rows between two syncs of the disk.
    commit_rows: usize,
}

impl PipelineSizes {
    fn of(key_type: KeyType, threads: usize) -> Self {
        // What was begun is finished also when the user interrupts; an RSA key takes as long as
        // thousands of others.
        if key_type.is_rsa() {
            return Self { portion: 1, portions_ahead: 2 * threads, commit_rows: 16 };
        }
        let commit_rows = 4096;
        Self { portion: MAX_PORTION, portions_ahead: 4 * threads + commit_rows / MAX_PORTION, commit_rows }
    }
}

const MAX_PORTION: usize = 128;
/// A worker never ends while there is something to do, unless it panicked.
const GONE: Error = Error::Crypto("a worker thread");
