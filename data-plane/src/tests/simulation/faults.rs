//! What may go wrong, and how often.

use std::time::Duration;

use super::rng::Rng;

/// A request's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Get,
    Head,
    Put,
    List,
    Delete,
}

impl Op {
    fn changes(self) -> bool {
        matches!(self, Op::Put | Op::Delete)
    }
}

/// What becomes of one request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    /// Carried out when it reaches the store; the answer takes its time, too.
    Answer { reach: Duration, back: Duration },
    /// Carried out twice, as by a client library that lost the first answer.
    Twice {
        reach: Duration,
        again: Duration,
        back: Duration,
    },
    /// An error, and nothing is carried out.
    Error { back: Duration },
    /// An error; the effect comes before or after it.
    ErrorAfter { reach: Duration, back: Duration },
    /// Lost on the way there: the client gives up at last.
    Silence,
}

impl Fate {
    /// Whether its sender may notice: patience ends, too.
    pub(super) fn is_trouble(self) -> bool {
        match self {
            Fate::Answer { reach, back } => reach + back > Duration::from_secs(5),
            _ => true,
        }
    }
}

/// What happens to the process at a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Strike {
    pub(super) when: When,
    /// The process stands still for so long; none: it dies.
    pub(super) pause: Option<Duration>,
}

/// At what moment of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// Before it is sent.
    Before,
    /// While it is on its way.
    Meanwhile,
    /// When its answer comes.
    After,
}

/// How often things go wrong in a run: of 1,000 requests, or of 1,000 moments of the chaos.
#[derive(Clone, Debug)]
pub(super) struct Profile {
    pub(super) error: u64,
    pub(super) slow: u64,
    pub(super) late: u64,
    pub(super) twice: u64,
    pub(super) silence: u64,
    /// Of the requests that change something.
    pub(super) crash: u64,
    pub(super) pause: u64,
    /// Crashes, pauses and stops at no request in particular.
    pub(super) chaos: u64,
    /// Connections between replicas and control planes that break or fall silent.
    pub(super) cut: u64,
    /// Wall clocks that are wrong, and jump.
    pub(super) skew: bool,
    /// One graph whose storage fails for a while, and nothing else.
    pub(super) outage: bool,
    /// Leaders are struck when they decide something, for long enough to lose the lead.
    pub(super) duel: bool,
}

impl Profile {
    /// Each seed has its own mixture: some kinds often, some never.
    pub(super) fn of(rng: &Rng) -> Self {
        let often = |most: u64| match rng.below(3) {
            0 => 0,
            1 => most / 4,
            _ => most,
        };
        if rng.below(8) == 0 {
            return Self::outage();
        }
        if rng.below(3) == 0 {
            return Self::duel();
        }
        Profile {
            error: often(30),
            slow: often(40),
            late: often(30),
            twice: often(30),
            silence: often(10),
            crash: often(40),
            pause: often(60),
            chaos: often(600),
            cut: often(100),
            skew: rng.below(2) == 0,
            outage: rng.below(4) == 0,
            duel: false,
        }
    }

    /// Nothing goes wrong.
    pub(super) fn calm() -> Self {
        Profile {
            error: 0,
            slow: 0,
            late: 0,
            twice: 0,
            silence: 0,
            crash: 0,
            pause: 0,
            chaos: 0,
            cut: 0,
            skew: false,
            outage: false,
            duel: false,
        }
    }

    /// Nothing goes wrong but for leaders.
    pub(super) fn duel() -> Self {
        Profile {
            duel: true,
            ..Self::calm()
        }
    }

    /// Nothing goes wrong but for one graph.
    pub(super) fn outage() -> Self {
        Profile {
            outage: true,
            ..Self::calm()
        }
    }

    /// Whether outages are all that goes wrong.
    pub(super) fn isolates(&self) -> bool {
        let rates = [self.error, self.slow, self.late, self.twice, self.silence];
        let more = [self.crash, self.pause, self.chaos, self.cut];
        self.outage && !self.skew && rates.iter().chain(&more).all(|rate| *rate == 0)
    }

    pub(super) fn fate(&self, rng: &Rng, op: Op) -> Fate {
        let quick = || rng.between(Duration::from_micros(200), Duration::from_millis(8));
        let long = || rng.long_tailed(Duration::from_secs(50));
        let dice = rng.below(1000);
        let mut bound = self.error;
        if dice < bound {
            return Fate::Error { back: quick() };
        }
        bound += self.slow;
        if dice < bound {
            return match rng.below(2) {
                0 => Fate::Answer {
                    reach: long(),
                    back: quick(),
                },
                _ => Fate::Answer {
                    reach: quick(),
                    back: long(),
                },
            };
        }
        bound += self.silence;
        if dice < bound {
            return Fate::Silence;
        }
        if op.changes() {
            bound += self.late;
            if dice < bound {
                return Fate::ErrorAfter {
                    reach: long(),
                    back: long(),
                };
            }
            bound += self.twice;
            if dice < bound {
                return Fate::Twice {
                    reach: quick(),
                    again: quick(),
                    back: quick(),
                };
            }
        }
        Fate::Answer {
            reach: quick(),
            back: quick(),
        }
    }

    /// How long a request is under way whose sender is struck meanwhile.
    pub(super) fn stray(rng: &Rng) -> Fate {
        Fate::Answer {
            reach: rng.long_tailed(Duration::from_secs(50)),
            back: Duration::from_millis(1),
        }
    }

    /// Where logs are appended to and sidecars written, more may go wrong than elsewhere.
    pub(super) fn strike(&self, rng: &Rng, op: Op, path: &str) -> Option<Strike> {
        let decides = ["/branches/main/", "/recoveries/", "/ledger/"];
        let decides = decides.iter().any(|part| path.contains(part));
        let scale = match (op.changes(), decides) {
            (true, true) => 1,
            (true, false) => 4,
            _ => 8,
        };
        let dice = rng.below(1000 * scale);
        let pause = match dice {
            dice if dice < self.crash => None,
            dice if dice < self.crash + self.pause => {
                Some(rng.long_tailed(Duration::from_secs(70)))
            }
            _ => return None,
        };
        Some(Strike {
            when: *rng.pick(&[When::Before, When::Meanwhile, When::After]),
            pause,
        })
    }
}

/// A request that decides something, of a leader that is struck at it: it stands still, or dies, for
/// so long that another takes the lead, and the request may arrive at any time meanwhile.
pub(super) fn duel(rng: &Rng, op: Op, path: &str) -> Option<(Fate, Option<Strike>)> {
    let often = match op {
        Op::Put if path.contains("/recoveries/") => 400,
        Op::Put if path.contains("/branches/main/") => 400,
        Op::Delete if path.contains("/recoveries/") => 150,
        Op::Put if path.contains("/ledger/") => 60,
        _ => return None,
    };
    if !rng.permille(often) {
        return None;
    }
    let long = |rng: &Rng| rng.between(Duration::from_secs(12), Duration::from_secs(60));
    let quick = Duration::from_millis(2);
    let when = *rng.pick(&[When::Before, When::Meanwhile, When::After]);
    let pause = (rng.below(3) > 0).then(|| long(rng));
    let (fate, strike) = match (rng.below(6), when) {
        // It takes long, and that is all.
        (1, _) => (
            Fate::Answer {
                reach: long(rng),
                back: quick,
            },
            None,
        ),
        // Nobody stops, and nobody knows what became of it.
        (0, _) => (
            Fate::ErrorAfter {
                reach: long(rng),
                back: quick,
            },
            None,
        ),
        (_, When::Meanwhile) => (
            Fate::Answer {
                reach: long(rng),
                back: quick,
            },
            Some(Strike { when, pause }),
        ),
        _ => (
            Fate::Answer {
                reach: quick,
                back: quick,
            },
            Some(Strike { when, pause }),
        ),
    };
    Some((fate, strike))
}
