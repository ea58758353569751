//! The text of a watched domains file as it was read last, with the certificate of each line: when the file has changed,
//! only the lines between its beginning and its end that are as they were are read anew.

use super::domains::{Line, Mistake, read_line, without_mark};
use crate::id::CertificateId;

/// File that was read before; at first an empty one.
#[derive(Debug, Default)]
pub struct KnownFile {
    content: Vec<u8>,
    /// The certificate of each line. `None`: it is to be read each time, as a comment is, or a line with a mistake.
    certificates: Vec<Option<CertificateId>>,
}

/// Line of a file as it is now.
#[derive(Debug, Eq, PartialEq)]
pub enum FileLine {
    /// One that stood there before, or means the same as one of the lines that are known.
    Known(CertificateId),
    /// One that was read.
    New(Line),
    /// One that cannot be read.
    Wrong(Mistake),
}

impl KnownFile {
    /// Takes the file as it is now, and lists its lines but those without a certificate. `find` finds the certificate of a
    /// line that is known.
    pub fn update(
        &mut self,
        content: Vec<u8>,
        find: impl Fn(&Line) -> Option<CertificateId>,
    ) -> Vec<FileLine> {
        let (before, after) = self.common_lines(&content);
        let old = &self.certificates;
        let text = without_mark(&content);
        let count = lines(text).count();
        let mut certificates = Vec::with_capacity(count);
        let mut found = Vec::with_capacity(count);
        for (number, line) in (1..).zip(lines(text)) {
            let known = match (number <= before, count - number < after) {
                (true, _) => old.get(number - 1),
                (_, true) => old.get(old.len() - 1 - (count - number)),
                _ => None,
            };
            let line = match known.copied().flatten() {
                Some(id) => Some(FileLine::Known(id)),
                None => match read_line(number, line) {
                    Ok(None) => None,
                    Ok(Some(line)) => {
                        Some(find(&line).map_or(FileLine::New(line), FileLine::Known))
                    }
                    Err(mistake) => Some(FileLine::Wrong(mistake)),
                },
            };
            certificates.push(match line {
                Some(FileLine::Known(id)) => Some(id),
                _ => None,
            });
            found.extend(line);
        }
        *self = Self { content, certificates };
        found
    }

    /// Counts the whole lines at the beginning and at the end that are as they were.
    fn common_lines(&self, content: &[u8]) -> (usize, usize) {
        let (old, new) = (without_mark(&self.content), without_mark(content));
        let differs = |(one, other): (&u8, &u8)| one != other;
        let shorter = old.len().min(new.len());
        let before = old.iter().zip(new).position(differs).unwrap_or(shorter);
        let rest = shorter - before;
        let ends = old.iter().rev().zip(new.iter().rev()).take(rest);
        let after = ends.clone().position(|(one, other)| one != other).unwrap_or(rest);
        let ends_of_lines = |text: &[u8]| text.iter().filter(|byte| **byte == b'\n').count();
        (ends_of_lines(&new[..before]), ends_of_lines(&new[new.len() - after..]))
    }
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n')
}

#[cfg(test)]
mod tests {
    use super::{FileLine, KnownFile};
    use crate::config::domains::{Line, parse_each};
    use crate::id::CertificateId;
    use proptest::prelude::{prop, proptest};

    /// One-letter names are known by their letters, but "z".
    fn find(line: &Line) -> Option<CertificateId> {
        let letter = line.names[0].as_str().bytes().next()?;
        (letter != b'z').then(|| CertificateId::new(usize::from(letter)))
    }

    /// All lines, read anew.
    fn read(text: &str) -> Vec<FileLine> {
        let lines = parse_each(text.as_bytes()).map(|line| match line {
            Ok(line) => find(&line).map_or(FileLine::New(line), FileLine::Known),
            Err(mistake) => FileLine::Wrong(mistake),
        });
        lines.collect()
    }

    #[test]
    fn only_what_has_changed_is_read() {
        let mut file = KnownFile::default();
        file.update(b"a.test\nb.test\n# c\nd.test\ne.test\n".to_vec(), find);
        let asked = std::cell::RefCell::new(Vec::new());
        let note = |line: &Line| {
            asked.borrow_mut().push((line.number, line.names[0].as_str().to_owned()));
            find(line)
        };
        let found = file.update(b"a.test\nf.test\n# c\nz.test\nd.test\ne.test\n".to_vec(), note);
        assert_eq!(found.len(), 5);
        let new = [(2, "f.test".to_owned()), (4, "z.test".to_owned())];
        assert_eq!(*asked.borrow(), new);
        // It has no certificate yet, so it is looked for again.
        file.update(b"a.test\nf.test\n# c\nz.test\nd.test\n".to_vec(), note);
        assert_eq!(asked.borrow()[2..], new[1..]);
    }

    proptest! {
        #[test]
        fn it_is_as_if_all_of_it_were_read(
            texts in prop::collection::vec(
                prop::collection::vec(
                    prop::sample::select(vec![
                        "a.test", "b.test", "bb.test", "z.test", "", "#", "a.test b.test", "-", "\u{feff}",
                    ]),
                    0..7,
                ),
                1..5,
            ),
        ) {
            let mut file = KnownFile::default();
            for text in texts {
                let text = text.join("\n");
                assert_eq!(file.update(text.clone().into_bytes(), find), read(&text), "{text:?}");
            }
        }
    }
}
