//! Progress of long transfers, on stderr: a bar on a terminal, else a line every 10 s.

use std::io::IsTerminal as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::args::Progress;
use crate::render::words;

const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// Follows one transfer.
pub(crate) struct Transfer {
    shown: Shown,
}

enum Shown {
    Nothing,
    Bar(ProgressBar),
    Lines(Mutex<Lines>),
}

struct Lines {
    verb: &'static str,
    started: Instant,
    last: Instant,
    bytes: u64,
    total: Option<u64>,
}

impl Transfer {
    /// `total` is in bytes, where it is known.
    pub(crate) fn new(
        verb: &'static str,
        total: Option<u64>,
        wanted: Progress,
        quiet: bool,
    ) -> Transfer {
        let terminal = std::io::stderr().is_terminal();
        let shown = match wanted {
            Progress::None => Shown::Nothing,
            Progress::Auto if quiet => Shown::Nothing,
            Progress::Bar => Shown::Bar(bar(verb, total)),
            Progress::Auto if terminal => Shown::Bar(bar(verb, total)),
            Progress::Auto | Progress::Plain => Shown::Lines(Mutex::new(Lines {
                verb,
                started: Instant::now(),
                last: Instant::now(),
                bytes: 0,
                total,
            })),
        };
        Transfer { shown }
    }

    /// So many bytes more.
    pub(crate) fn advance(&self, bytes: u64) {
        match &self.shown {
            Shown::Nothing => {}
            Shown::Bar(bar) => bar.inc(bytes),
            Shown::Lines(lines) => {
                let mut lines = lines.lock().unwrap_or_else(|e| e.into_inner());
                lines.bytes += bytes;
                if lines.last.elapsed() >= LINE_INTERVAL {
                    lines.last = Instant::now();
                    eprintln!("{}", line(&lines, lines.started.elapsed()));
                }
            }
        }
    }

    /// Everything is sent; the server works on it.
    pub(crate) fn committing(&self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.set_style(style("{msg} {spinner} {elapsed}"));
            bar.set_message("committing");
            bar.enable_steady_tick(Duration::from_millis(100));
        }
    }

    /// The bar vanishes; the result line follows elsewhere.
    pub(crate) fn finish(&self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}

fn bar(verb: &'static str, total: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
    bar.set_message(verb);
    bar.set_style(style(match total {
        Some(_) => "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {elapsed} eta {eta}",
        None => "{msg} {spinner} {bytes} {bytes_per_sec} {elapsed}",
    }));
    bar
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn line(lines: &Lines, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64().max(0.001);
    let rate = words::bytes((lines.bytes as f64 / seconds) as u64);
    let of = lines
        .total
        .map(|total| format!(" of {}", words::bytes(total)));
    format!(
        "{}: {}{} in {:.0} s, {rate}/s",
        lines.verb,
        words::bytes(lines.bytes),
        of.unwrap_or_default(),
        seconds
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_what_bars_say() {
        let lines = Lines {
            verb: "load",
            started: Instant::now(),
            last: Instant::now(),
            bytes: 20_000_000,
            total: Some(55_000_000),
        };
        assert_eq!(
            line(&lines, Duration::from_secs(10)),
            "load: 20.0 MB of 55.0 MB in 10 s, 2.0 MB/s"
        );
    }
}
