//! Output of programs: lines for the log, of a length and a number that are bounded.

use acme_dns_core::redact::Redactor;
use acme_dns_core::text::excerpt;
use std::collections::VecDeque;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

/// Length up to which a line is read, in octets. Secrets are cut out of that, and what is shown is shorter.
const MAX_RAW_LINE: usize = 64 << 10;

/// Length of a line as it is shown, in characters.
const MAX_LINE: usize = 1000;

/// So many lines of a program are shown.
const MAX_LINES: usize = 200;

/// So many of its last lines are in an error, each of this length in characters. What it has printed as errors comes
/// first: the two pipes are read side by side, and nobody knows the order of what was written to them.
const LAST: usize = 5;
const MAX_LAST_LINE: usize = 200;

/// Length up to which standard output is kept, in octets.
const MAX_STANDARD: usize = 64 << 10;

/// Output of one program.
pub(super) struct Output<'a> {
    redactor: &'a Redactor,
    tell: &'a dyn Fn(String),
    lines: usize,
    last_standard: VecDeque<String>,
    last_errors: VecDeque<String>,
    standard: String,
}

impl<'a> Output<'a> {
    pub(super) fn new(redactor: &'a Redactor, tell: &'a dyn Fn(String)) -> Self {
        let (last_standard, last_errors) = (VecDeque::new(), VecDeque::new());
        Self { redactor, tell, lines: 0, last_standard, last_errors, standard: String::new() }
    }

    /// Adds a line of standard output, which is kept as it is too; `is_shown` says whether it is for the log.
    pub(super) fn add_standard(&mut self, line: &[u8], is_shown: bool) {
        let text = String::from_utf8_lossy(line);
        if self.standard.len() + text.len() < MAX_STANDARD {
            self.standard.push_str(&text);
            self.standard.push('\n');
        }
        if is_shown && let Some(last) = self.show(line) {
            keep_last(&mut self.last_standard, last);
        }
    }

    /// Adds a line of what it prints as errors.
    pub(super) fn add_error(&mut self, line: &[u8]) {
        if let Some(last) = self.show(line) {
            keep_last(&mut self.last_errors, last);
        }
    }

    /// Tells a line, if there is anything in it; gives it as an error quotes it.
    fn show(&mut self, line: &[u8]) -> Option<String> {
        let line = self.redactor.hide(&String::from_utf8_lossy(line));
        let shown = excerpt(&line, MAX_LINE);
        if shown.is_empty() {
            return None;
        }
        self.lines += 1;
        if self.lines <= MAX_LINES {
            (self.tell)(shown);
        }
        Some(excerpt(&line, MAX_LAST_LINE))
    }

    /// Gives standard output as it was, and the last lines.
    pub(super) fn finish(self) -> (String, Vec<String>) {
        if let Some(more) = self.lines.checked_sub(MAX_LINES).filter(|more| *more > 0) {
            (self.tell)(format!("({more} more lines)"));
        }
        let room = LAST - self.last_errors.len();
        let standard = self.last_standard.into_iter();
        let dropped = standard.len().saturating_sub(room);
        (self.standard, standard.skip(dropped).chain(self.last_errors).collect())
    }
}

fn keep_last(last: &mut VecDeque<String>, line: String) {
    if last.len() == LAST {
        last.pop_front();
    }
    last.push_back(line);
}

/// Gives each line that comes through a pipe, until all who write to it have ended.
pub(super) async fn read_pipe(pipe: Option<Receiver>, mut on_line: impl FnMut(&[u8])) {
    let Some(mut pipe) = pipe else { return };
    let (mut chunk, mut line) = ([0; 4096], Vec::new());
    while let Ok(length @ 1..) = pipe.read(&mut chunk).await {
        for byte in chunk.iter().take(length) {
            match byte {
                b'\n' => {
                    on_line(&line);
                    line.clear();
                }
                byte if line.len() < MAX_RAW_LINE => line.push(*byte),
                _ => {}
            }
        }
    }
    on_line(&line);
}
