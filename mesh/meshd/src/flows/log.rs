//! The last flow events, in a bounded ring.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use signet_abi::Flow;
use tokio::sync::watch;

/// Most events that one [`FlowLog::read`] returns.
const BATCH: usize = 256;

/// Keeps the last events. Readers have a [`Cursor`] each and no queue: a slow one misses events and is told how many.
#[derive(Debug)]
pub(crate) struct FlowLog {
    ring: Mutex<Ring>,
    capacity: usize,
    /// The number of the next event.
    next: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Ring {
    events: VecDeque<Flow>,
    /// The number of the first event in the ring; they are counted from 0.
    first: u64,
}

/// Where a reader is.
#[derive(Debug)]
pub(crate) struct Cursor {
    /// The number of the event that it reads next.
    next: u64,
    news: watch::Receiver<u64>,
}

impl FlowLog {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            ring: Mutex::default(),
            capacity: capacity.max(1),
            next: watch::Sender::new(0),
        }
    }

    /// Adds events; the oldest make room.
    pub(crate) fn extend(&self, events: impl IntoIterator<Item = Flow>) {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        for event in events {
            if ring.events.len() == self.capacity {
                ring.events.pop_front();
                ring.first += 1;
            }
            ring.events.push_back(event);
        }
        self.next.send_replace(ring.first + length(&ring));
    }

    /// A reader that begins with the last `wanted` of those events that are kept and match.
    pub(crate) fn cursor(&self, wanted: usize, matches: impl Fn(&Flow) -> bool) -> Cursor {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let end = ring.first + length(&ring);
        let next = match wanted.checked_sub(1) {
            None => end,
            Some(skipped) => {
                let numbered = (ring.first..end)
                    .rev()
                    .zip(ring.events.iter().rev())
                    .filter(|(_, event)| matches(event));
                numbered
                    .take(skipped + 1)
                    .last()
                    .map_or(end, |(number, _)| number)
            }
        };
        Cursor {
            next,
            news: self.next.subscribe(),
        }
    }

    /// The events after the cursor, at most 256, and how many were lost before them. Empty: it is at the end.
    pub(crate) fn read(&self, cursor: &mut Cursor) -> (u64, Vec<Flow>) {
        cursor.news.mark_unchanged();
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let lost = ring.first.saturating_sub(cursor.next);
        cursor.next += lost;
        let skip = usize::try_from(cursor.next - ring.first).unwrap_or(usize::MAX);
        let events: Vec<Flow> = ring.events.iter().skip(skip).take(BATCH).copied().collect();
        cursor.next += u64::try_from(events.len()).unwrap_or(0);
        (lost, events)
    }
}

impl Cursor {
    /// Waits until there is something to read.
    pub(crate) async fn news(&mut self) {
        if *self.news.borrow() > self.next {
            return;
        }
        if self.news.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

fn length(ring: &Ring) -> u64 {
    u64::try_from(ring.events.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(numbers: std::ops::Range<u64>) -> impl Iterator<Item = Flow> {
        numbers.map(|at| Flow {
            at,
            ..Flow::default()
        })
    }

    fn read_all(log: &FlowLog, cursor: &mut Cursor) -> (u64, Vec<u64>) {
        let (mut lost, mut read) = (0, Vec::new());
        loop {
            let (more_lost, events) = log.read(cursor);
            lost += more_lost;
            if events.is_empty() {
                return (lost, read);
            }
            read.extend(events.iter().map(|event| event.at));
        }
    }

    #[test]
    fn the_last_events_come_first_and_then_the_new_ones() {
        let log = FlowLog::new(100);
        log.extend(events(0..10));
        let mut cursor = log.cursor(3, |_| true);
        assert_eq!(read_all(&log, &mut cursor), (0, vec![7, 8, 9]));
        log.extend(events(10..12));
        assert_eq!(read_all(&log, &mut cursor), (0, vec![10, 11]));
    }

    #[test]
    fn only_matching_events_count_among_the_last() {
        let log = FlowLog::new(100);
        log.extend(events(0..10));
        let mut cursor = log.cursor(2, |event| event.at % 4 == 0);
        assert_eq!(read_all(&log, &mut cursor).1[0], 4);
        let mut none = log.cursor(0, |_| true);
        assert_eq!(read_all(&log, &mut none), (0, vec![]));
    }

    #[test]
    fn a_slow_reader_is_told_what_it_missed() {
        let log = FlowLog::new(5);
        log.extend(events(0..3));
        let mut cursor = log.cursor(10, |_| true);
        log.extend(events(3..20));
        assert_eq!(read_all(&log, &mut cursor), (15, vec![15, 16, 17, 18, 19]));
    }

    #[test]
    fn a_batch_is_bounded() {
        let log = FlowLog::new(1000);
        log.extend(events(0..1000));
        let mut cursor = log.cursor(1000, |_| true);
        assert_eq!(log.read(&mut cursor).1.len(), BATCH);
        assert_eq!(read_all(&log, &mut cursor).1.len(), 1000 - BATCH);
    }

    #[tokio::test]
    async fn a_waiting_reader_wakes_with_the_next_event() {
        let log = std::sync::Arc::new(FlowLog::new(10));
        let mut cursor = log.cursor(0, |_| true);
        let writer = std::sync::Arc::clone(&log);
        let waiting = tokio::spawn(async move {
            cursor.news().await;
            cursor
        });
        writer.extend(events(0..1));
        let mut cursor = waiting.await.unwrap();
        assert_eq!(read_all(&log, &mut cursor), (0, vec![0]));
    }
}
