use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant, SystemTime};

use crate::corpus::{Corpus, Expected};
use crate::interest::Interest;
use crate::memory::most_during;
use crate::mutation::{Numbers, minimize, mutate};
use crate::verdict::Verdict;
use crate::watchdog::Watchdog;

/// Seconds that each target runs, where it is set; else a fixed number of inputs.
const FOR: &str = "SIGNET_FUZZ_FOR";
/// Where it is set, inputs that a long run found interesting are written to the corpus.
const KEEP: &str = "SIGNET_FUZZ_KEEP";
/// Inputs that are kept to be mutated further.
const POOL: usize = 256;

/// One parser under attack.
#[derive(Debug)]
pub struct Fuzz {
    target: &'static str,
    corpus: Corpus,
    seeds: Vec<Vec<u8>>,
    inputs: u32,
    longest: usize,
    memory: usize,
}

impl Fuzz {
    /// `crate_folder` is `env!("CARGO_MANIFEST_DIR")`; what is committed under `fuzz-corpus/<target>` there is tried first.
    pub fn new(crate_folder: &str, target: &'static str) -> Self {
        Self {
            target,
            corpus: Corpus::new(crate_folder, target),
            seeds: Vec::new(),
            inputs: 20_000,
            longest: 16 * 1024,
            memory: 256 * 1024,
        }
    }

    /// A valid input, from which others are made. It must be accepted.
    #[must_use]
    pub fn seed(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.seeds.push(bytes.as_ref().to_vec());
        self
    }

    /// How many inputs are tried in `make test`; 20,000 unless said otherwise.
    #[must_use]
    pub fn inputs(mut self, inputs: u32) -> Self {
        self.inputs = inputs;
        self
    }

    /// How much memory one input may take beside 64 times its own length, bytes; 256 KiB unless said otherwise.
    #[must_use]
    pub fn memory(mut self, bytes: usize) -> Self {
        self.memory = bytes;
        self
    }

    /// Longest input, bytes; 16 KiB unless said otherwise.
    #[must_use]
    pub fn longest(mut self, bytes: usize) -> Self {
        self.longest = bytes;
        self
    }

    /// Runs. `property` says whether the input was accepted, or why not, and panics where something is wrong with that.
    ///
    /// # Panics
    /// An input breaks the property or a bound, or a seed is not accepted, or memory is not counted.
    #[expect(clippy::panic, reason = "this is how a test fails")]
    pub fn run<V: Into<Verdict>>(self, property: impl Fn(&[u8]) -> V) {
        let (_, counted) = most_during(|| vec![1_u8; 4096]);
        assert!(
            counted >= 4096,
            "make signet_fuzz::Counting the #[global_allocator] of this program"
        );
        assert!(!self.seeds.is_empty(), "{}: no seed", self.target);
        let watchdog = Watchdog::new(self.target.to_owned());
        let attempt = |input: &[u8]| {
            watchdog.begin(input);
            let (accepted, most) = most_during(|| catch_unwind(AssertUnwindSafe(|| property(input))));
            let bound = self.memory + 64 * input.len();
            match accepted {
                Ok(_) if most > bound => Err(format!(
                    "it takes {most} bytes of memory, at most {bound} are right"
                )),
                Ok(verdict) => Ok(verdict.into()),
                Err(panic) => Err(said(panic.as_ref())),
            }
        };
        let check = |input: &[u8]| {
            attempt(input).unwrap_or_else(|reason| {
                let short = minimize(input.to_vec(), |input| attempt(input).is_err());
                let kept = self.corpus.keep(None, &short);
                let kept = kept.map_or_else(
                    |error| format!("it could not be kept in {}: {error}", self.corpus),
                    |path| format!("kept as {}: commit it with what mends it", path.display()),
                );
                panic!(
                    "{}: {reason}\ninput: {}\n{kept}",
                    self.target,
                    short.escape_ascii()
                );
            })
        };
        // Things that are made once do not count.
        for seed in &self.seeds {
            drop(catch_unwind(AssertUnwindSafe(|| property(seed))));
        }
        for seed in &self.seeds {
            assert!(
                check(seed).is_accepted(),
                "{}: a seed is not accepted: {}",
                self.target,
                seed.escape_ascii()
            );
        }
        let mut interest = Interest::new(&self.seeds);
        for (expected, input) in self.corpus.inputs() {
            let verdict = check(&input);
            let as_before = match expected {
                None => true,
                Some(Expected::Accepted) => verdict.is_accepted(),
                Some(Expected::Refused) => !verdict.is_accepted(),
            };
            assert!(
                as_before,
                "{}: it was {expected:?} when it was put into {}, and now it is not: {}",
                self.target,
                self.corpus,
                input.escape_ascii()
            );
            interest.note(&input, &verdict);
        }
        interest.settle();
        self.mutants(&mut interest, check);
        if std::env::var_os(KEEP).is_some() {
            self.write_down(&interest, check);
        }
    }

    fn mutants(&self, interest: &mut Interest, check: impl Fn(&[u8]) -> Verdict) {
        let time = std::env::var(FOR).ok().and_then(|seconds| seconds.parse().ok());
        let end = time.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        let mut numbers = Numbers::new(seed(end.is_some()));
        let mut pool = self.seeds.clone();
        pool.extend(self.corpus.inputs().into_iter().map(|(_, input)| input));
        let mut tried = 0_u32;
        while end.map_or(tried < self.inputs, |end| Instant::now() < end) {
            tried = tried.saturating_add(1);
            let (one, other) = (numbers.below(pool.len()), numbers.below(pool.len()));
            let input = mutate(&mut numbers, &pool[one], &pool[other], self.longest);
            let verdict = check(&input);
            let is_new = interest.note(&input, &verdict);
            if (verdict.is_accepted() || is_new) && !pool.contains(&input) {
                if pool.len() < POOL {
                    pool.push(input);
                } else {
                    let replaced = numbers.below(pool.len());
                    pool[replaced] = input;
                }
            }
        }
    }

    /// As short as they are still refused for the same reason.
    fn write_down(&self, interest: &Interest, check: impl Fn(&[u8]) -> Verdict) {
        for (reason, input) in interest.refused() {
            let short = minimize(input.to_vec(), |input| check(input).reason() == Some(reason));
            drop(self.corpus.keep(Some(Expected::Refused), &short));
        }
        for input in interest.accepted() {
            drop(self.corpus.keep(Some(Expected::Accepted), input));
        }
    }
}

/// Always the same one in tests, another one each time in long runs.
fn seed(long: bool) -> u64 {
    if !long {
        return 2_026;
    }
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(1, |since| since.as_secs() ^ u64::from(since.subsec_nanos()))
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("it panics: {}", text.unwrap_or("without a word"))
}
