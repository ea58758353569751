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

/// So many of its last lines are in an error, each of this length in characters.
const LAST: usize = 5;
const MAX_LAST_LINE: usize = 200;

/// Length up to which standard output is kept, in octets.
const MAX_STANDARD: usize = 64 << 10;

/// Output of one program.
pub(super) struct Output<'a> {
    redactor: &'a Redactor,
    tell: &'a dyn Fn(String),
    lines: usize,
    last: VecDeque<String>,
    standard: String,
}

impl<'a> Output<'a> {
    pub(super) fn new(redactor: &'a Redactor, tell: &'a dyn Fn(String)) -> Self {
        Self { redactor, tell, lines: 0, last: VecDeque::new(), standard: String::new() }
    }

    /// Adds a line of standard output, which is kept as it is too; `is_shown` says whether it is for the log.
    pub(super) fn add_standard(&mut self, line: &[u8], is_shown: bool) {
        let text = String::from_utf8_lossy(line);
        if self.standard.len() + text.len() < MAX_STANDARD {
            self.standard.push_str(&text);
            self.standard.push('\n');
        }
        if is_shown {
            self.add(line);
        }
    }

    /// Adds a line.
    pub(super) fn add(&mut self, line: &[u8]) {
        let line = self.redactor.hide(&String::from_utf8_lossy(line));
        let shown = excerpt(&line, MAX_LINE);
        if shown.is_empty() {
            return;
        }
        if self.last.len() == LAST {
            self.last.pop_front();
        }
        self.last.push_back(excerpt(&line, MAX_LAST_LINE));
        self.lines += 1;
        if self.lines <= MAX_LINES {
            (self.tell)(shown);
        }
    }

    /// Gives standard output as it was, and the last lines.
    pub(super) fn finish(self) -> (String, Vec<String>) {
        if let Some(more) = self.lines.checked_sub(MAX_LINES).filter(|more| *more > 0) {
            (self.tell)(format!("({more} more lines)"));
        }
        (self.standard, self.last.into())
    }
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
