//! The public area of shared memory: what a handler may show. What its records hold is in
//! `acme_dns_core::status::encode`.
//!
//! ```text
//! process: 5 words | figures: 1024 pairs of key and number | records: for each variant a sequence number, what is
//! served and the plan | texts: for each variant the text of its last error | where certificates are shared: a sequence
//! number and the engine, and for each variant a sequence number and its hosts
//! ```
//!
//! Nobody waits for a lock. A writer makes the sequence number of a record odd, writes, and makes it even again; a
//! reader copies, and compares. One that meets a writer again and again takes what it has: a writer that died in the
//! middle leaves a record whose fields are from two, which the next service writes anew. Texts lie apart, as pages that
//! are never touched take no memory.
//!
//! Writers are those of `memory`, one at a time; figures are counted by atomic additions.

use super::memory::SharedMemory;
use super::requests::Requests;
use acme_dns_core::config::Config;
use acme_dns_core::growing::ByName;
use acme_dns_core::id::{CertificateId, IssuerId, ProviderId, VariantId};
use acme_dns_core::material::Material;
use acme_dns_core::status::encode::{PLAN, SERVED, TEXT};
use acme_dns_core::status::share_record::{ENGINE, SHARED};
use acme_dns_core::status::{
    Activity, EngineRecord, Figure, Head, Helper, HelperState, Plan, PublicArea, ServedRecord,
    SharedVariant, ZoneUse,
};
use acme_dns_core::time::UnixTime;
use acme_dns_service::status::served_records;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::thread;
use std::time::Duration;

const WORD: usize = size_of::<AtomicU64>();
const SERVED_WORDS: usize = SERVED / WORD;
const PLAN_WORDS: usize = PLAN / WORD;
const TEXT_WORDS: usize = TEXT / WORD;
const HEAD_WORDS: usize = SERVED_WORDS + PLAN_WORDS;
const RECORD_WORDS: usize = 1 + HEAD_WORDS;
const ENGINE_WORDS: usize = 1 + ENGINE / WORD;
const SHARED_WORDS: usize = 1 + SHARED / WORD;

/// Number of figures that there is room for; others are not counted.
const FIGURES: usize = 1024;

/// Attempts of a reader whose record is written meanwhile, after a few of which it lets the writer work.
const READ_ATTEMPTS: usize = 16;
const BUSY_ATTEMPTS: usize = 2;

/// A process that has given no sign of life for so long is down: it gives one every ten seconds.
const SILENCE: Duration = Duration::from_secs(35);

/// Words about the process that obtains certificates.
#[derive(Clone, Copy)]
#[repr(usize)]
enum Process {
    Pid,
    /// Time of its start, in seconds since the Unix epoch.
    Started,
    /// Last sign of life, by the clock that nobody sets.
    Seen,
    State,
    /// Time at which the memory was made, by the same clock.
    Made,
}

const PROCESS_WORDS: usize = 5;

/// Public area of one configuration.
#[derive(Clone, Debug)]
pub(super) struct Area {
    memory: Arc<SharedMemory>,
    variants: usize,
    is_shared: bool,
    requests: Option<Arc<Requests>>,
}

impl Area {
    /// Gives the number of words that the area of a configuration takes. `None`: too many.
    pub(super) fn words(config: &Config) -> Option<usize> {
        let (of_engine, of_shared) = match config.share {
            Some(_) => (ENGINE_WORDS, SHARED_WORDS),
            None => (0, 0),
        };
        let of_each = RECORD_WORDS + TEXT_WORDS + of_shared;
        let records = config.variants.capacity().checked_mul(of_each)?;
        records.checked_add(PROCESS_WORDS + 2 * FIGURES + of_engine)
    }

    pub(super) fn new(memory: &Arc<SharedMemory>, config: &Config) -> Self {
        Self {
            memory: Arc::clone(memory),
            variants: config.variants.capacity(),
            is_shared: config.share.is_some(),
            requests: None,
        }
    }

    /// Shows what workers have asked for, too.
    pub(super) fn with_requests(self, requests: Option<Arc<Requests>>) -> Self {
        Self { requests, ..self }
    }

    /// Begins with new memory: notes the time.
    pub(super) fn begin(&self) {
        if let Some(words) = self.memory.writable_public_words() {
            store(process(words, Process::Made), seconds());
        }
    }

    /// Notes that a service starts, in this process.
    pub(super) fn note_start(&self, now: UnixTime) {
        let Some(words) = self.memory.writable_public_words() else { return };
        store(process(words, Process::Pid), std::process::id().into());
        store(process(words, Process::Started), now.0.unsigned_abs());
        self.show_life(HelperState::Starting);
    }

    /// Notes that the service lives.
    pub(super) fn show_life(&self, state: HelperState) {
        let Some(words) = self.memory.writable_public_words() else { return };
        store(process(words, Process::State), state as u64);
        store(process(words, Process::Seen), seconds());
    }

    /// Adds to a figure.
    pub(super) fn add(&self, figure: Figure, number: u64) {
        let words = self.memory.writable_public_words();
        if let Some(at) = words.and_then(|words| figure_at(words, figure)) {
            at.fetch_add(number, Ordering::Relaxed);
        }
    }

    /// Sets a figure.
    pub(super) fn note(&self, figure: Figure, number: u64) {
        let words = self.memory.writable_public_words();
        if let Some(at) = words.and_then(|words| figure_at(words, figure)) {
            at.store(number, Ordering::Relaxed);
        }
    }

    /// Shows what is served of a certificate.
    pub(super) fn show_served(
        &self,
        config: &Config,
        certificate: CertificateId,
        material: &Material,
    ) {
        for (variant, record) in served_records(config, certificate, material) {
            self.write_served(variant, &record.map_or([0; SERVED], |record| record.encode()));
        }
    }

    /// Tells whether anything is shown of what is served of a certificate.
    pub(super) fn shows(&self, config: &Config, certificate: CertificateId) -> bool {
        let variants = config.certificates.get(certificate).map(|it| it.variants.clone());
        let shows =
            |id| self.head(id).is_some_and(|head| ServedRecord::validity(&head.served).is_some());
        variants.into_iter().flatten().any(shows)
    }

    /// Shows the plan for a variant.
    pub(super) fn show_plan(&self, variant: VariantId, plan: &Plan) {
        let Some(words) = self.memory.writable_public_words() else { return };
        let (Some(record), Some(text)) = (self.record(words, variant), self.text(words, variant))
        else {
            return;
        };
        write(record, |head| {
            fill(head.get(SERVED_WORDS..).unwrap_or_default(), &plan.encode());
            let said = plan.text().as_bytes();
            fill(used(text, said.len()), said);
        });
    }

    /// Gives the plan that is shown for a variant.
    pub(super) fn shown_plan(&self, variant: VariantId) -> Option<Plan> {
        let (head, text) = self.whole(variant)?;
        Plan::decode(&head.plan, &text).ok()?
    }

    /// Shows the state of the engine.
    pub(super) fn show_engine(&self, shown: &EngineRecord) {
        let words = self.memory.writable_public_words();
        if let Some(record) = words.and_then(|words| self.engine_record(words)) {
            write(record, |words| fill(words, &shown.encode()));
        }
    }

    /// Shows the hosts of a variant.
    pub(super) fn show_shared(&self, variant: VariantId, shown: &SharedVariant) {
        let words = self.memory.writable_public_words();
        if let Some(record) = words.and_then(|words| self.shared_record(words, variant)) {
            write(record, |words| fill(words, &shown.encode()));
        }
    }

    /// Gives the hosts that are shown for a variant.
    pub(super) fn shown_shared(&self, variant: VariantId) -> Option<SharedVariant> {
        SharedVariant::decode(&self.shared(variant)?).ok()?
    }

    /// Takes over what the area of the configuration before shows: plans of the variants that have the same names, and
    /// all figures. What is served of `same` certificates is taken over as well.
    pub(super) fn take_over(
        &self,
        config: &Config,
        (before, old): (&Self, &Config),
        same: impl Fn(CertificateId) -> bool,
    ) {
        let known = ByName::new(&old.variants, |variant| &variant.name);
        for (id, variant) in config.variants.iter() {
            let Some(old) = known.find(id, &variant.name) else { continue };
            if let Some(plan) = before.shown_plan(old) {
                // Its service ends, and what is under way with it.
                let activity = match plan.activity {
                    Activity::Issuing => Activity::Idle,
                    other => other,
                };
                self.show_plan(id, &Plan { activity, step: None, ..plan });
            }
            if let Some(head) = before.head(old).filter(|_| same(variant.certificate)) {
                self.write_served(id, &head.served);
            }
            if let Some(shared) = before.shown_shared(old) {
                self.show_shared(id, &shared);
            }
        }
        self.take_over_figures(config, before, old);
    }

    fn take_over_figures(&self, config: &Config, before: &Self, old: &Config) {
        let issuer = |id: IssuerId| {
            let name = &old.issuers.get(id)?.name;
            config.issuers.find(|issuer| issuer.name == *name)
        };
        let provider = |id: ProviderId| {
            let name = &old.providers.get(id)?.name;
            config.providers.find(|provider| provider.name == *name)
        };
        for (key, number) in before.figures() {
            if let Some(figure) = Figure::of(key).and_then(|it| it.moved(issuer, provider)) {
                self.note(figure, number);
            }
        }
    }

    /// Shows what is served of a variant, by its record.
    pub(super) fn write_served(&self, variant: VariantId, served: &[u8; SERVED]) {
        let words = self.memory.writable_public_words();
        if let Some(record) = words.and_then(|words| self.record(words, variant)) {
            write(record, |head| fill(head.get(..SERVED_WORDS).unwrap_or_default(), served));
        }
    }

    /// Finds the record of a variant.
    fn record<'a>(&self, words: &'a [AtomicU64], variant: VariantId) -> Option<&'a [AtomicU64]> {
        let at = PROCESS_WORDS + 2 * FIGURES + variant.index().checked_mul(RECORD_WORDS)?;
        let is_there = variant.index() < self.variants;
        words.get(at..at.checked_add(RECORD_WORDS)?).filter(|_| is_there)
    }

    /// Finds the text of a variant.
    fn text<'a>(&self, words: &'a [AtomicU64], variant: VariantId) -> Option<&'a [AtomicU64]> {
        let before = PROCESS_WORDS + 2 * FIGURES + self.variants * RECORD_WORDS;
        let at = before + variant.index().checked_mul(TEXT_WORDS)?;
        words.get(at..at.checked_add(TEXT_WORDS)?)
    }

    /// Finds the record of the engine, which begins what there is where certificates are shared.
    fn engine_record<'a>(&self, words: &'a [AtomicU64]) -> Option<&'a [AtomicU64]> {
        let at = PROCESS_WORDS + 2 * FIGURES + self.variants * (RECORD_WORDS + TEXT_WORDS);
        words.get(at..)?.get(..ENGINE_WORDS).filter(|_| self.is_shared)
    }

    /// Finds the hosts of a variant.
    fn shared_record<'a>(
        &self,
        words: &'a [AtomicU64],
        variant: VariantId,
    ) -> Option<&'a [AtomicU64]> {
        let before = PROCESS_WORDS + 2 * FIGURES + self.variants * (RECORD_WORDS + TEXT_WORDS);
        let at = before + ENGINE_WORDS + variant.index().checked_mul(SHARED_WORDS)?;
        let is_there = self.is_shared && variant.index() < self.variants;
        words.get(at..)?.get(..SHARED_WORDS).filter(|_| is_there)
    }
}

impl PublicArea for Area {
    fn head(&self, variant: VariantId) -> Option<Head> {
        let record = self.record(self.memory.public_words(), variant)?;
        Some(read(record, head))
    }

    fn whole(&self, variant: VariantId) -> Option<(Head, [u8; TEXT])> {
        let words = self.memory.public_words();
        let (record, text) = (self.record(words, variant)?, self.text(words, variant)?);
        Some(read(record, |words| {
            let head = head(words);
            let text = copy(used(text, Plan::text_length(&head.plan)));
            (head, text)
        }))
    }

    fn figures(&self) -> Vec<(u64, u64)> {
        let words = self.memory.public_words();
        let pairs = figures(words)
            .map(|(key, number)| (key.load(Ordering::Acquire), number.load(Ordering::Relaxed)));
        pairs.filter(|(key, _)| *key != 0).collect()
    }

    fn helper(&self) -> Helper {
        let words = self.memory.public_words();
        let word = |at| process(words, at).map_or(0, |word| word.load(Ordering::Relaxed));
        let seen = match word(Process::Seen) {
            0 => word(Process::Made),
            seen => seen,
        };
        let up = seconds().saturating_sub(seen) <= SILENCE.as_secs();
        let known = [HelperState::Working, HelperState::Following];
        let state = known.into_iter().find(|state| *state as u64 == word(Process::State));
        let started = i64::try_from(word(Process::Started)).unwrap_or_default();
        Helper {
            up,
            state: if up { state.unwrap_or(HelperState::Starting) } else { HelperState::Down },
            pid: u32::try_from(word(Process::Pid)).ok().filter(|pid| *pid != 0),
            started: Some(UnixTime(started)).filter(|time| time.0 != 0),
        }
    }

    fn zone(&self) -> ZoneUse {
        let (used, total) = self.memory.room();
        ZoneUse { used, total }
    }

    fn engine(&self) -> Option<[u8; ENGINE]> {
        Some(read(self.engine_record(self.memory.public_words())?, copy))
    }

    fn shared(&self, variant: VariantId) -> Option<[u8; SHARED]> {
        Some(read(self.shared_record(self.memory.public_words(), variant)?, copy))
    }

    fn is_requested(&self, certificate: CertificateId) -> bool {
        self.requests.as_ref().is_some_and(|requests| requests.is_asked(certificate))
    }
}

fn process(words: &[AtomicU64], at: Process) -> Option<&AtomicU64> {
    words.get(at as usize)
}

fn store(word: Option<&AtomicU64>, value: u64) {
    if let Some(word) = word {
        word.store(value, Ordering::Relaxed);
    }
}

fn figures(words: &[AtomicU64]) -> impl Iterator<Item = (&AtomicU64, &AtomicU64)> {
    let figures = words.get(PROCESS_WORDS..).unwrap_or_default().as_chunks::<2>().0;
    figures.iter().take(FIGURES).map(|[key, number]| (key, number))
}

/// Finds the number of a figure, which gets a place if it has none and there is one.
fn figure_at(words: &[AtomicU64], figure: Figure) -> Option<&AtomicU64> {
    let wanted = figure.key();
    for (key, number) in figures(words) {
        match key.compare_exchange(0, wanted, Ordering::Release, Ordering::Acquire) {
            Ok(_) => return Some(number),
            Err(found) if found == wanted => return Some(number),
            Err(_) => {}
        }
    }
    None
}

/// Writes a record. `body` gets its words behind the sequence number.
fn write(record: &[AtomicU64], body: impl FnOnce(&[AtomicU64])) {
    let Some((sequence, words)) = record.split_first() else { return };
    let odd = sequence.load(Ordering::Relaxed) | 1;
    sequence.store(odd, Ordering::Relaxed);
    // Who sees a new word sees the odd number too.
    fence(Ordering::Release);
    body(words);
    sequence.store(odd.wrapping_add(1), Ordering::Release);
}

/// Reads a record. `body` copies its words behind the sequence number, perhaps several times.
fn read<T>(record: &[AtomicU64], body: impl Fn(&[AtomicU64]) -> T) -> T {
    let (sequence, words) = match record.split_first() {
        Some((sequence, words)) => (Some(sequence), words),
        None => (None, record),
    };
    let sequence = |order| sequence.map_or(0, |sequence| sequence.load(order));
    for attempt in 0..READ_ATTEMPTS {
        let before = sequence(Ordering::Acquire);
        let copied = body(words);
        // What was copied was read before this load.
        fence(Ordering::Acquire);
        if before.is_multiple_of(2) && sequence(Ordering::Relaxed) == before {
            return copied;
        }
        if attempt >= BUSY_ATTEMPTS {
            thread::yield_now();
        }
    }
    body(words)
}

fn head(words: &[AtomicU64]) -> Head {
    let (served, plan) = words.split_at_checked(SERVED_WORDS).unwrap_or((words, &[]));
    Head { served: copy(served), plan: copy(plan) }
}

/// Gives the words of a text that has so many bytes. The others are not even looked at: the system gives memory to who
/// reads where nothing was written.
fn used(text: &[AtomicU64], length: usize) -> &[AtomicU64] {
    text.get(..length.div_ceil(WORD)).unwrap_or(text)
}

/// Copies words into bytes.
fn copy<const N: usize>(words: &[AtomicU64]) -> [u8; N] {
    let mut bytes = [0; N];
    for (to, word) in bytes.chunks_exact_mut(WORD).zip(words) {
        to.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
    }
    bytes
}

/// Writes bytes into words, as far as they differ.
fn fill(words: &[AtomicU64], bytes: &[u8]) {
    let mut chunks = bytes.chunks(WORD);
    for word in words {
        let mut whole = [0; WORD];
        let chunk = chunks.next().unwrap_or_default();
        whole.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
        let value = u64::from_ne_bytes(whole);
        if word.load(Ordering::Relaxed) != value {
            word.store(value, Ordering::Relaxed);
        }
    }
}

/// Gives the seconds of a clock that nobody sets, the same in all processes.
fn seconds() -> u64 {
    let mut time = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: the call fills in a structure of this type.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, time.as_mut_ptr()) };
    // SAFETY: zeroed, which is a valid value, or filled in.
    let time = unsafe { time.assume_init() };
    u64::try_from(time.tv_sec).unwrap_or_default()
}
