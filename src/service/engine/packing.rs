//! Care for the pack of certificates, with which nginx starts ([`store`](crate::store)): it is written anew when so much
//! of it is out of date that a start would notice.

use super::site::Site;
use crate::stamp::FileStamp;
use crate::store::pack_stamp;
use acme_dns_core::level::Level;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// With fewer certificates a start reads their files in no time.
const LEAST: usize = 1_000;

/// Part of all certificates that may be out of date, and a number that always may.
const PART: usize = 50;
const FEW: usize = 100;

/// Time from the start to the first pack: the start comes first.
const DELAY: Duration = Duration::from_secs(5);

/// Pause after a pack that was not written, and after one that was: certificates may be forgotten all the time.
const RETRY: Duration = Duration::from_secs(3600);
const REST: Duration = Duration::from_secs(600);

/// The certificates are read in batches with pauses, so that others have the processor too.
const BATCH: usize = 500;
const PAUSE: Duration = Duration::from_millis(50);

/// The part of the engine that has the pack written.
pub(super) struct Packing {
    site: Rc<Site>,
    /// Stamp of the pack when the service began.
    pack: Option<FileStamp>,
    /// Number of certificates that the pack does not have, or has otherwise.
    stale: Rc<Cell<usize>>,
    /// Number of those that are newer than the pack was when the service began.
    newer: Cell<usize>,
    /// Number of times that the pack has gone, as far as is known here.
    removals: Cell<u64>,
    next: Rc<Cell<Instant>>,
    is_writing: Rc<Cell<bool>>,
    /// Tells the thread that writes whether to go on.
    goes_on: Arc<AtomicBool>,
}

impl Packing {
    /// `unpacked` is the number of certificates that nginx has found, and not in the pack.
    pub(super) fn new(site: Rc<Site>, unpacked: usize) -> Self {
        Self {
            pack: pack_stamp(site.store.path()),
            removals: Cell::new(site.store.pack_removals().unwrap_or_default()),
            site,
            stale: Rc::new(Cell::new(unpacked)),
            newer: Cell::default(),
            next: Rc::new(Cell::new(Instant::now() + DELAY)),
            is_writing: Rc::default(),
            goes_on: Arc::new(AtomicBool::new(true)),
        }
    }

    /// Notes a certificate that is there when the service begins, by the stamp of its file.
    pub(super) fn note_found(&self, stamp: FileStamp) {
        if self.pack.is_none_or(|pack| stamp.is_newer_than(pack)) {
            self.newer.set(self.newer.get() + 1);
            // Those that nginx has not found in the pack are mostly the same.
            self.stale.set(self.stale.get().max(self.newer.get()));
        }
    }

    /// Notes that a certificate was saved.
    pub(super) fn note_saved(&self) {
        self.stale.set(self.stale.get() + 1);
    }

    /// Has the pack written, if it is time to.
    pub(super) fn look(&self) {
        let count = self.site.variants().len();
        if let Some(removals) = self.site.store.pack_removals()
            && self.removals.replace(removals) != removals
        {
            self.stale.set(count);
        }
        let is_due = count >= LEAST && self.stale.get() > (count / PART).max(FEW);
        if is_due && !self.is_writing.get() && Instant::now() >= self.next.get() {
            self.is_writing.set(true);
            tokio::task::spawn_local(self.write());
        }
    }

    /// Writes the pack, which has all that was saved until now.
    fn write(&self) -> impl Future<Output = ()> + use<> {
        let site = Rc::clone(&self.site);
        let (next, is_writing) = (Rc::clone(&self.next), Rc::clone(&self.is_writing));
        let stale = Rc::clone(&self.stale);
        let known = stale.replace(0);
        let names = site.variants().map(|variant| site.name(variant).to_owned()).collect();
        let goes_on = Arc::clone(&self.goes_on);
        let mut read = 0;
        let goes_on = move || {
            read += 1;
            if read % BATCH == 0 {
                thread::sleep(PAUSE);
            }
            goes_on.load(Ordering::Relaxed)
        };
        async move {
            let written = site.store.on_thread(move |store| store.write_pack(names, goes_on)).await;
            if let Err(error) = &written {
                site.tell_failure(Level::Warn, error);
            }
            let pause = match written {
                Ok(true) => REST,
                // A certificate was forgotten meanwhile, or the process ends.
                Ok(false) => DELAY,
                Err(_) => RETRY,
            };
            if !matches!(written, Ok(true)) {
                stale.set(stale.get() + known);
            }
            next.set(Instant::now() + pause);
            is_writing.set(false);
        }
    }
}

impl Drop for Packing {
    fn drop(&mut self) {
        // The process ends, or another one has the lock.
        self.goes_on.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::{LEAST, Packing, Site};
    use crate::engine::testing::{Recorder, site_of};
    use crate::stamp::FileStamp;
    use crate::store::pack_stamp;
    use crate::store::testing::issued;
    use acme_dns_core::key::KeyType;
    use std::rc::Rc;
    use std::sync::Arc;
    use std::time::Instant;
    use tokio::task::{LocalSet, yield_now};

    const ECDSA: &[KeyType] = &[KeyType::EcdsaP256];

    /// Begins with as many certificates as there are at least, all of them old.
    fn begin(site: &Rc<Site>) -> Packing {
        let packing = Packing::new(Rc::clone(site), 0);
        (0..LEAST).for_each(|_| packing.note_found(FileStamp::default()));
        packing
    }

    async fn look(packing: &Packing) {
        packing.next.set(Instant::now());
        packing.look();
        while packing.is_writing.get() {
            yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_pack_is_written_when_much_is_out_of_date_and_only_then() {
        let names: Vec<String> = (0..LEAST).map(|number| format!("n{number}.example")).collect();
        let names: Vec<[&str; 1]> = names.iter().map(|name| [name.as_str()]).collect();
        let all: Vec<(&[&str], &[KeyType])> = names.iter().map(|it| (&it[..], ECDSA)).collect();
        let dir = tempfile::tempdir().unwrap();
        let site = site_of(dir.path(), Arc::new(Recorder::default()), &all);
        site.store.save_certificate("n0.example", &issued(&["n0.example"])).unwrap();
        let stamp = || pack_stamp(dir.path());
        let work = async {
            let packing = begin(&site);
            look(&packing).await;
            let first = stamp();
            assert!(first.is_some(), "there was none");
            for (saved, is_written) in [(100, false), (1, true)] {
                (0..saved).for_each(|_| packing.note_saved());
                look(&packing).await;
                assert_eq!(stamp() != first, is_written, "{saved}");
            }
            assert_eq!(begin(&site).stale.get(), 0, "all are older");
            // Such as after a backup was restored: the files are older, and others.
            let before = stamp();
            look(&Packing::new(Rc::clone(&site), 101)).await;
            assert_ne!(stamp(), before, "nginx did not find them in it");
            let packing = begin(&site);
            site.store.remove_pack().unwrap();
            look(&packing).await;
            assert!(stamp().is_some(), "it had gone");
        };
        LocalSet::new().run_until(work).await;
    }
}
