//! What the store counts of itself, for the metrics. Nothing is decided by it.

use std::sync::atomic::{AtomicU64, Ordering};

/// The sizes of batches that are told apart: 1, 2, up to 4, up to 8, … up to 1024.
const SIZES: usize = 11;

/// Counted by the thread that writes.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Entries in the file after the last commit.
    pub(super) entries: AtomicU64,
    /// Operations that wait for their commit to begin.
    pub(super) waiting: AtomicU64,
    /// How often the file had to be opened again.
    pub(super) failures: AtomicU64,
    commits: AtomicU64,
    operations: AtomicU64,
    sizes: [AtomicU64; SIZES],
}

/// Commits so far, and what was in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Batches {
    /// Commits that are on the disk.
    pub commits: u64,
    /// Operations in them.
    pub operations: u64,
    /// Commits by the number of their operations: at most 1, 2, 4, 8, … 1024.
    pub sizes: [u64; SIZES],
}

impl Counters {
    pub(super) fn count_commit(&self, operations: usize) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.operations
            .fetch_add(u64::try_from(operations).unwrap_or(u64::MAX), Ordering::Relaxed);
        let size = operations.max(1).next_power_of_two().trailing_zeros();
        let size = usize::try_from(size).map_or(SIZES - 1, |size| size.min(SIZES - 1));
        self.sizes[size].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn batches(&self) -> Batches {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Batches {
            commits: read(&self.commits),
            operations: read(&self.operations),
            sizes: self.sizes.each_ref().map(read),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_told_apart_by_their_size() {
        let counters = Counters::default();
        for operations in [0, 1, 2, 3, 4, 5, 64, 1024, 5000] {
            counters.count_commit(operations);
        }
        let batches = counters.batches();
        assert_eq!((batches.commits, batches.operations), (9, 6103));
        assert_eq!(batches.sizes, [2, 1, 2, 1, 0, 0, 1, 0, 0, 0, 2]);
    }
}
