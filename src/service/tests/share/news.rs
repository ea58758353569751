//! News: told as they come, after a pause too, and said to be missing where they are.

use crate::bed::{Bed, KEY, Watcher, done, in_time, path, run, shown};
use acme_dns_service::share::{Change, Engine, Expected, Missed, News, Revision};

#[test]
fn changes_are_told_as_they_come() {
    for bed in Bed::all() {
        let (writer, reader) = (bed.host(), bed.host());
        let stranger =
            bed.host_with(&[&["encryption_key_file", KEY], &["prefix", "acme_dns/edge"]]);
        run(async {
            let from = reader.load().await.unwrap().revision;
            let mut watcher = Watcher::new(reader, from);
            let (a, b) = (path("a"), path("b"));
            let first = done(writer.put(&a, b"1", Expected::Absent, None).await);
            watcher.until_put("a", "1").await;
            done(stranger.put(&a, b"of others", Expected::Absent, None).await);
            done(writer.remove(&a, first, None).await);
            let second = done(writer.put(&b, b"2", Expected::Absent, None).await);
            let told = watcher.until(|changes| changes.len() >= 3).await;
            let expected = [("a", "1"), ("a", "removed"), ("b", "2")];
            let expected = expected.map(|(path, content)| (path.to_owned(), content.to_owned()));
            assert_eq!(shown(&told), expected, "{}", bed.name());
            assert_eq!(told.last().map(Change::revision), Some(second), "{}", bed.name());
        });
    }
}

#[test]
fn changes_while_nobody_watched_are_told_later() {
    for bed in Bed::all() {
        let (writer, reader) = (bed.host(), bed.host());
        run(async {
            let from = reader.load().await.unwrap().revision;
            for number in 0..300 {
                let content = number.to_string();
                let path = path(&content);
                done(writer.put(&path, content.as_bytes(), Expected::Absent, None).await);
            }
            let mut watcher = Watcher::new(reader, from);
            let told = watcher.until(|changes| changes.len() >= 300).await;
            let paths: Vec<String> = told.iter().map(|change| change.path().to_string()).collect();
            let expected: Vec<String> = (0..300).map(|number| number.to_string()).collect();
            assert_eq!(paths, expected, "{}", bed.name());
        });
    }
}

#[test]
fn a_watch_goes_on_over_a_restart_of_the_server() {
    for mut bed in Bed::all() {
        let (writer, reader) = (bed.host(), bed.host());
        run(async {
            let from = reader.load().await.unwrap().revision;
            let mut watcher = Watcher::new(reader, from);
            done(writer.put(&path("a"), b"before", Expected::Absent, None).await);
            watcher.until_put("a", "before").await;
            bed.stop();
            bed.start_again();
            let writer = bed.host();
            done(writer.put(&path("b"), b"after", Expected::Absent, None).await);
            watcher.until_put("b", "after").await;
        });
    }
}

#[test]
fn what_the_server_no_longer_tells_is_missed_and_loaded() {
    for mut bed in Bed::all() {
        let (writer, reader) = (bed.host(), bed.host());
        run(async {
            let from = reader.load().await.unwrap().revision;
            let mut last = Revision::default();
            for number in 0..5 {
                let path = path(&number.to_string());
                last = done(writer.put(&path, b"x", Expected::Absent, None).await);
            }
            bed.forget_history(last);
            let mut hear = |news: News| assert!(news.changes.is_empty());
            let missed = in_time(reader.watch(from, &mut hear)).await;
            assert_eq!(missed, Ok(Missed), "{}", bed.name());
            let mut watcher = Watcher::new(reader, from);
            watcher.until_loaded().await;
            let told = watcher.until(|changes| changes.len() >= 5).await;
            assert_eq!(told.len(), 5, "{}", bed.name());
        });
    }
}

#[test]
fn a_server_that_was_emptied_is_noticed() {
    for bed in Bed::all() {
        let host = bed.host();
        run(async {
            done(host.put(&path("a"), b"x", Expected::Absent, None).await);
            let from = Revision(host.load().await.unwrap().revision.0 + 1000);
            let missed = in_time(host.watch(from, &mut |_| {})).await;
            assert_eq!(missed, Ok(Missed), "{}", bed.name());
        });
    }
}
