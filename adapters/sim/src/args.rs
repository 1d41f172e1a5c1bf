//! The command's arguments.

use std::time::Duration;

use peerhold_sim::Swarm;

use crate::sum::Floors;

pub(crate) const HELP: &str = "\
Runs Peerhold in a simulated world where things go wrong, and looks whether
what must always hold does.

cargo run --profile sim -p peerhold-sim -- [options]

  --seeds N       run so many seeds [100]
  --start S       the first of them [1]
  --fixed N       first run the N seeds from 1 on, whatever --start is [0]
  --hours H       stop after so many simulated hours
  --minutes M     stop after so many minutes of real time
  --floors LIST   stop when there were so many simulated hours, operations,
                  crashes, and times that every fault has fired, and fail if it
                  does not come to that: 90,250000,10000,30
  --jobs N        threads [2]
  --twice N       run every Nth seed twice: both must be the same; 0: none [16]
  --short         runs of some seconds, in which much goes on
  --go-on         do not stop at the first violation
  --no-shrink     do not look for a shorter schedule of a violation

  --seed S        run one seed
  --steps LIST    only these steps of its schedule: 3,7,9-12
  --trace         tell its schedule and what happened

  --help          this

A start that is no number is hashed to one: the id of a commit, for instance.
Exit codes: 0 no violation, 1 a violation or not enough, 2 wrong arguments.";

#[derive(Debug)]
pub(crate) struct Args {
    pub(crate) help: bool,
    pub(crate) seeds: Seeds,
    pub(crate) hours: Option<f64>,
    pub(crate) seconds: Option<Duration>,
    pub(crate) floors: Option<Floors>,
    pub(crate) jobs: usize,
    pub(crate) twice: u64,
    pub(crate) short: bool,
    pub(crate) go_on: bool,
    pub(crate) shrink: bool,
    pub(crate) seed: Option<u64>,
    pub(crate) steps: Option<Steps>,
    pub(crate) trace: bool,
}

/// Which seeds are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seeds {
    pub(crate) fixed: u64,
    pub(crate) start: u64,
    pub(crate) count: u64,
}

impl Seeds {
    /// The so-manieth.
    pub(crate) fn get(&self, number: u64) -> Option<u64> {
        match number.checked_sub(self.fixed) {
            None => Some(number + 1),
            Some(fresh) => (fresh < self.count).then(|| self.start.wrapping_add(fresh)),
        }
    }
}

/// Numbers of steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Steps(Vec<(usize, usize)>);

impl Steps {
    pub(crate) fn contains(&self, step: usize) -> bool {
        self.0
            .iter()
            .any(|(from, to)| (*from..=*to).contains(&step))
    }

    fn parse(text: &str) -> Option<Self> {
        let ranges = text.split(',').filter(|range| !range.is_empty());
        let ranges = ranges.map(|range| {
            let (from, to) = range.split_once('-').unwrap_or((range, range));
            Some((from.parse().ok()?, to.parse().ok()?))
        });
        ranges.collect::<Option<_>>().map(Self)
    }
}

impl Args {
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut args = Self {
            help: false,
            seeds: Seeds {
                fixed: 0,
                start: 1,
                count: 100,
            },
            hours: None,
            seconds: None,
            floors: None,
            jobs: 2,
            twice: 16,
            short: false,
            go_on: false,
            shrink: true,
            seed: None,
            steps: None,
            trace: false,
        };
        while let Some(word) = words.next() {
            match word.as_str() {
                "--help" | "-h" => args.help = true,
                "--short" => args.short = true,
                "--go-on" => args.go_on = true,
                "--no-shrink" => args.shrink = false,
                "--trace" => args.trace = true,
                option => {
                    let value = words.next();
                    let value = value.ok_or(format!("what is {option}, or what is its value?"))?;
                    let wrong = || format!("{option} {value} makes no sense");
                    args.set(option, &value).ok_or_else(wrong)?;
                }
            }
        }
        Ok(args)
    }

    /// What the run of a seed is like.
    pub(crate) fn swarm(&self, seed: u64) -> Swarm {
        match self.short {
            true => Swarm::short(seed),
            false => Swarm::draw(seed),
        }
    }

    fn set(&mut self, option: &str, value: &str) -> Option<()> {
        match option {
            "--seeds" => self.seeds.count = value.parse().ok()?,
            "--start" => self.seeds.start = number_of(value),
            "--fixed" => self.seeds.fixed = value.parse().ok()?,
            "--hours" => self.hours = Some(value.parse().ok()?),
            "--minutes" => {
                let minutes: f64 = value.parse().ok()?;
                self.seconds = Some(Duration::try_from_secs_f64(minutes * 60.0).ok()?);
            }
            "--floors" => self.floors = Some(Floors::parse(value)?),
            "--jobs" => self.jobs = value.parse().ok()?,
            "--twice" => self.twice = value.parse().ok()?,
            "--seed" => self.seed = Some(value.parse().ok()?),
            "--steps" => self.steps = Some(Steps::parse(value)?),
            _ => return None,
        }
        Some(())
    }
}

/// A number, or one that any text is hashed to.
fn number_of(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| {
        let hash = blake3::hash(text.as_bytes());
        let bytes = hash.as_bytes().first_chunk();
        bytes.map_or(0, |bytes| u64::from_be_bytes(*bytes) >> 16)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Args, String> {
        Args::parse(text.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn fixed_seeds_come_before_fresh_ones() {
        let seeds = parse("--fixed 2 --start 70 --seeds 2").unwrap().seeds;
        let all: Vec<_> = (0..5).map(|number| seeds.get(number)).collect();
        assert_eq!(all, [Some(1), Some(2), Some(70), Some(71), None]);
    }

    #[test]
    fn steps_are_numbers_and_ranges() {
        let steps = parse("--steps 3,7-9").unwrap().steps.unwrap();
        let all: Vec<_> = (0..12).filter(|step| steps.contains(*step)).collect();
        assert_eq!(all, [3, 7, 8, 9]);
    }

    #[test]
    fn what_makes_no_sense_is_refused_and_named() {
        for text in ["--seeds many", "--steps 3-x", "--minutes -1", "--sedes 3"] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(text.split(' ').next().unwrap()), "{error}");
        }
    }

    #[test]
    fn a_commit_is_a_start() {
        let [one, other] = ["b964c32", "849b693"].map(|text| {
            let args = parse(&format!("--start {text}")).unwrap();
            args.seeds.start
        });
        assert_ne!(one, other);
    }
}
